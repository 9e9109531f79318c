package node

// ConfigsRequest asks for the configurations of images, by ID.
type ConfigsRequest struct {
	Images []string `json:"images"`
}

// ImageConfig is one image's configuration.
type ImageConfig struct {
	ID string `json:"id"`
	// Config is the configuration as it was pulled: ID is its digest, and it names the layers.
	Config []byte `json:"config,omitempty"`
	// LayerBytes are the sizes of the layers, unpacked, the lowest first; those of the layers in Config.
	LayerBytes []int64 `json:"layerBytes,omitempty"`
	// Error says why there is no Config.
	Error string `json:"error,omitempty"`
}

// LayersRequest asks for where the layers of images are to be read.
type LayersRequest struct {
	Layers []LayerOf `json:"layers"`
}

// LayerOf names a layer as a part of an image.
type LayerOf struct {
	ImageID string `json:"imageID"`
	DiffID  string `json:"diffID"`
}

// Source is where on a node the content of one layer is to be read.
type Source struct {
	// DiffID is the digest of the layer's uncompressed archive, "sha256:<64 hex>". It says what the content is, wherever it lies.
	DiffID string `json:"diffID"`
	// Dir is the directory that the layer was unpacked to, with the whiteouts of overlayfs.
	Dir string `json:"dir,omitempty"`
	// Blob is the layer's archive as it was pulled, for where there is no directory.
	Blob string `json:"blob,omitempty"`
	// MediaType says how Blob is compressed.
	MediaType string `json:"mediaType,omitempty"`
}

// LayersItem is one line of the answer to VerbLayers: exactly one field is set.
type LayersItem struct {
	Layer *Layer `json:"layer,omitempty"`
	// Held says that all layers were told and are held on to from now on.
	Held *Held `json:"held,omitempty"`
}

// Layer is where a layer is to be read, or why it cannot be.
type Layer struct {
	Source
	Error string `json:"error,omitempty"`
}

// Held says how many layers are held on to.
type Held struct {
	Layers int `json:"layers"`
}

// AnalyzeRequest asks for the analysis of layers.
type AnalyzeRequest struct {
	// Version is what the driver can read (scan.Version). A scanner of another one refuses.
	Version string   `json:"version"`
	Layers  []Source `json:"layers"`
	// Last says that nothing more will be asked: the container ends once its answer has arrived, which the driver confirms.
	Last bool `json:"last,omitempty"`
}

// AnalyzeItem is one line of the answer to VerbAnalyze: exactly one field is set.
type AnalyzeItem struct {
	// Started is the diffID of the layer that is now being read.
	Started  string    `json:"started,omitempty"`
	Analysis *Analysis `json:"analysis,omitempty"`
}

// Analysis is what came of analysing one layer.
type Analysis struct {
	DiffID string `json:"diffID"`
	// Body is empty where there is an Error.
	Body []byte `json:"body,omitempty"`
	// Error says why the layer could not be analysed.
	Error string `json:"error,omitempty"`
}
