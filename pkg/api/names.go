package api

// What an installation is called in a cluster. The names that begin with "eraser" are those that users of Eraser and of AKS Image
// Cleaner know.
const (
	// ControllerName is the controller's: of its Deployment, ServiceAccount, roles and bindings.
	ControllerName = "eraser-controller-manager"
	// SettingsName is the ConfigMap that has Settings, under SettingsKey. It survives an uninstallation.
	SettingsName = "imageclean-settings"
	SettingsKey  = "settings.yaml"
	// StateName is the ConfigMap that has State, under StateKey.
	StateName = "imageclean-state"
	StateKey  = "state.json"
	// SystemExclusionName is the ConfigMap that shows the system list of exclusions, under SystemExclusionKey. It is immutable.
	SystemExclusionName = "eraser-system-exclusion"
	SystemExclusionKey  = "excluded.json"
	// LeaseName is the Lease of the leader.
	LeaseName = "imageclean-controller"
)

// Labels of what belongs to imageclean.
const (
	// AppLabel with AppName is on every object of ours.
	AppLabel = "app.kubernetes.io/name"
	AppName  = "imageclean"
	// ManagedByLabel with ManagedByPlugin or ManagedByController tells who made an object.
	ManagedByLabel      = "app.kubernetes.io/managed-by"
	ManagedByPlugin     = "kubectl-imageclean"
	ManagedByController = "imageclean-controller"
	// VersionLabel has the version that an installation is of.
	VersionLabel = "app.kubernetes.io/version"
	// ComponentLabel with ComponentController is on what runs the controller.
	ComponentLabel      = "app.kubernetes.io/component"
	ComponentController = "controller"
	// RunLabel has the ID of the run or pass that an object belongs to.
	RunLabel = "imageclean.sh/run"
	// TypeLabel is Eraser's: TypeCollector is on pods that look for what may go, and on the ImageLists that came of it, TypeManual on
	// pods that remove what somebody named.
	TypeLabel     = "eraser.sh/type"
	TypeCollector = "collector"
	TypeManual    = "manual"
)
