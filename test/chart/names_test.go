package chart_test

// valueOf are the chart's values by the settings that they are written into.
var valueOf = map[string]string{
	"schedule.interval":            "runtimeConfig.manager.scheduling.repeatInterval",
	"schedule.cron":                "runtimeConfig.manager.scheduling.cron",
	"schedule.timeZone":            "runtimeConfig.manager.scheduling.timeZone",
	"beginImmediately":             "runtimeConfig.manager.scheduling.beginImmediately",
	"policy.scan":                  "runtimeConfig.components.scanner.enabled",
	"policy.severities":            "runtimeConfig.policy.severities",
	"policy.ignoreUnfixed":         "runtimeConfig.policy.ignoreUnfixed",
	"policy.endOfLife":             "runtimeConfig.policy.endOfLife",
	"policy.olderThan":             "runtimeConfig.policy.olderThan",
	"policy.databaseRepositories":  "runtimeConfig.policy.databaseRepositories",
	"nodes.selector":               "runtimeConfig.nodes.selector",
	"nodes.parallelism":            "runtimeConfig.nodes.parallelism",
	"nodes.timeout":                "runtimeConfig.nodes.timeout",
	"nodes.successRatio":           "runtimeConfig.manager.imageJob.successRatio",
	"nodes.privileged":             "runtimeConfig.nodes.privileged",
	"nodes.runtimeSocket":          "runtimeConfig.nodes.runtimeSocket",
	"keepPods.afterSuccess":        "runtimeConfig.manager.imageJob.cleanup.delayOnSuccess",
	"keepPods.afterFailure":        "runtimeConfig.manager.imageJob.cleanup.delayOnFailure",
	"controller.registry":          "deploy.image.registry",
	"controller.imagePullSecret":   "runtimeConfig.manager.pullSecrets",
	"controller.nodeSelector":      "deploy.nodeSelector",
	"controller.tolerations":       "deploy.tolerations",
	"controller.priorityClassName": "deploy.priorityClassName",
}

// onlyOfTheChart are values that are no settings. Helm gives every chart the first.
var onlyOfTheChart = []string{"global", "deploy.resources", "deploy.affinity", "deploy.additionalPodLabels"}

// erasers are the names of the values of Eraser's chart: charts/eraser/values.yaml in github.com/eraser-dev/eraser, for its version
// v1.5.0-beta.0. Those that are commented out there are among them; the lines of the scanner's own configuration, a text, are not.
var erasers = []string{
	"runtimeConfig.apiVersion", "runtimeConfig.kind",
	"runtimeConfig.health.healthProbeBindAddress",
	"runtimeConfig.metrics.bindAddress",
	"runtimeConfig.webhook.port",
	"runtimeConfig.leaderElection.leaderElect", "runtimeConfig.leaderElection.resourceName",
	"runtimeConfig.manager.runtime.name", "runtimeConfig.manager.runtime.address",
	"runtimeConfig.manager.otlpEndpoint", "runtimeConfig.manager.logLevel",
	"runtimeConfig.manager.scheduling.repeatInterval", "runtimeConfig.manager.scheduling.beginImmediately",
	"runtimeConfig.manager.profile.enabled", "runtimeConfig.manager.profile.port",
	"runtimeConfig.manager.imageJob.successRatio",
	"runtimeConfig.manager.imageJob.cleanup.delayOnSuccess", "runtimeConfig.manager.imageJob.cleanup.delayOnFailure",
	"runtimeConfig.manager.pullSecrets", "runtimeConfig.manager.priorityClassName", "runtimeConfig.manager.additionalPodLabels",
	"runtimeConfig.manager.nodeFilter.type", "runtimeConfig.manager.nodeFilter.selectors",
	"runtimeConfig.components.collector.enabled", "runtimeConfig.components.collector.image.repo", "runtimeConfig.components.collector.image.tag",
	"runtimeConfig.components.collector.request.mem", "runtimeConfig.components.collector.request.cpu",
	"runtimeConfig.components.collector.limit.mem", "runtimeConfig.components.collector.limit.cpu",
	"runtimeConfig.components.scanner.enabled", "runtimeConfig.components.scanner.image.repo", "runtimeConfig.components.scanner.image.tag",
	"runtimeConfig.components.scanner.request.mem", "runtimeConfig.components.scanner.request.cpu",
	"runtimeConfig.components.scanner.limit.mem", "runtimeConfig.components.scanner.limit.cpu", "runtimeConfig.components.scanner.config",
	"runtimeConfig.components.remover.image.repo", "runtimeConfig.components.remover.image.tag",
	"runtimeConfig.components.remover.request.mem", "runtimeConfig.components.remover.request.cpu",
	"runtimeConfig.components.remover.limit.mem", "runtimeConfig.components.remover.limit.cpu",
	"deploy.image.repo", "deploy.image.pullPolicy", "deploy.image.tag",
	"deploy.additionalArgs", "deploy.priorityClassName", "deploy.additionalPodLabels",
	"deploy.securityContext", "deploy.resources", "deploy.nodeSelector", "deploy.tolerations", "deploy.affinity",
	"nameOverride",
}
