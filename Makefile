# Everything that is built, tested and shown here. It needs Go, make and git; the test cluster also installs Debian packages
# and needs root. `make help` lists the targets.

MODULE     := github.com/imageclean/kubectl-imageclean
REGISTRY   ?= ghcr.io/imageclean
PLATFORM   ?= linux/$(shell go env GOARCH)
REVISION   := $(shell git rev-parse HEAD 2>/dev/null)
COMPONENTS := controller node scanner

# Trivy decodes JSON with it.
export GOEXPERIMENT := jsonv2

# One version for the plugin and its images, so that they always match. It is an image tag too, and so has no "+" or "/".
ifndef VERSION
VERSION := $(shell git describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null | tr -c 'A-Za-z0-9_.\n-' '-')
endif
VERSION := $(or $(VERSION),dev)

# The bytes of a binary depend on its sources and its version alone: no paths, no state of the checkout.
GO_FLAGS = -trimpath -buildvcs=false \
	-ldflags '-s -w -X $(MODULE)/pkg/version.Version=$(VERSION) -X $(MODULE)/pkg/version.Registry=$(REGISTRY) -X $(MODULE)/pkg/version.Digests=$(DIGESTS)'
GO_BUILD = CGO_ENABLED=0 go build $(GO_FLAGS)

# Modules with code of ours, and modules that only pin what we build (docs/adr/0002).
LINT_MODULES := . tools/image tools/krew-manifest tools/licences test/cluster test/e2e
UNIT_MODULES := . tools/image tools/krew-manifest tools/licences test/cluster
ALL_MODULES  := $(patsubst %/,%,$(dir $(wildcard go.mod tools/*/go.mod test/*/go.mod test/*/*/go.mod)))

# The race detector needs a C compiler and its headers, which a bare machine lacks.
RACE = $(shell echo '\#include <stdlib.h>' | $$(go env CC) -E - >/dev/null 2>&1 && echo -race)

# Without package names go test shows what the tests print, such as what the race came to.
E2E_TESTS   = go -C test/e2e test -count=1 -timeout 60m && ./test/agent-on-containerds && go -C test/cluster test -count=1 ./...
# Of a cluster that is not the test bed there is no page.
LOOK_AT_PAGE = page=$(CURDIR)/artifacts/report.html; test ! -e $$page || ./test/html/check $(CURDIR)/artifacts/html/cluster $$page
TESTCLUSTER = go -C test/cluster run ./cmd/testcluster
NODES ?= 2
FUZZTIME ?= 20s

# Linked once for each version of the tool and of Go, and kept outside the checkout, so that a fresh clone has it at once.
TOOLS         := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/imageclean/tools
tool_path      = $(TOOLS)/$(shell { go version; cat tools/$(1)/go.*; } | sha256sum | cut -c1-16)/$(1)
GOLANGCI_LINT := $(call tool_path,golangci-lint)
TRIVY         := $(call tool_path,trivy)
CONTROLLER_GEN := $(call tool_path,controller-gen)
GORELEASER    := $(call tool_path,goreleaser)
CYCLONEDX     := $(call tool_path,cyclonedx-gomod)
KREW          := $(call tool_path,krew)
ACTIONLINT    := $(call tool_path,actionlint)
GOVULNCHECK   := $(call tool_path,govulncheck)
HELM          := $(call tool_path,helm)

$(GOLANGCI_LINT) $(TRIVY) $(CONTROLLER_GEN) $(GORELEASER) $(CYCLONEDX) $(KREW) $(ACTIONLINT) $(GOVULNCHECK) $(HELM):
	@echo "building $(@F), which takes minutes the first time"
	@mkdir -p $(@D).new && CGO_ENABLED=0 go -C tools/$(@F) build -trimpath -ldflags '-s -w' -o $(@D).new/ tool && mv -T $(@D).new $(@D)

.NOTPARALLEL:
.DEFAULT_GOAL := help

##@ Build

.PHONY: build
build: ## The plugin, bin/kubectl-imageclean
	$(GO_BUILD) -o bin/kubectl-imageclean ./cmd/kubectl-imageclean

.PHONY: images
images: $(COMPONENTS:%=dist/images/%.tar) ## The images, dist/images/*.tar, for PLATFORM

description_controller := Removes unused and vulnerable container images from a cluster's nodes at an interval
description_node       := Lists and removes container images on a Kubernetes node
description_scanner    := Lists the software in container images on a Kubernetes node

# Node pods run as root, without capabilities: the runtime's socket is root's.
run_controller := -user 65532
run_node       := -command hold
run_scanner    := -command hold

image_flags = -name $(REGISTRY)/imageclean-$(1):$(VERSION) $(run_$(1)) -description "$(description_$(1))" -license $(CURDIR)/LICENSE

.PHONY: FORCE
dist/images/%.tar: FORCE
	GOOS=linux GOARCH=$(notdir $(PLATFORM)) $(GO_BUILD) -o dist/$(PLATFORM)/imageclean-$* ./cmd/imageclean-$*
	@go -C tools/image run . archive $(call image_flags,$*) -output $(CURDIR)/$@ $(PLATFORM)=$(CURDIR)/dist/$(PLATFORM)/imageclean-$*

# The chart of this version, beside its images.
chart = rm -rf $(1) && mkdir -p $(1) && cp -r charts/imageclean/. LICENSE $(1) && go run $(GO_FLAGS) ./pkg/manifests/chart -output $(1)

.PHONY: chart
chart: ## The Helm chart, dist/chart/imageclean
	@$(call chart,dist/chart/imageclean)

##@ Release

# docs/releasing.md says how these follow on each other. Krew wants a semantic version: without a tag, one is made of the commit.
RELEASE := dist/release
ARCHES  := amd64 arm64
%-release release-%: VERSION := $(if $(filter v%,$(VERSION)),$(VERSION),v0.0.0-snapshot-$(VERSION))

# The controller names the other images by digest, and so comes after them.
.PHONY: release-images
release-images: $(CYCLONEDX) release-clean $(patsubst %,$(RELEASE)/images/%,node scanner controller) ## The images for all platforms, as OCI layouts, and their digests

.PHONY: release-clean
release-clean:
	@rm -rf $(RELEASE)

# What the images that are there by now have for digests, as version.Digests wants it.
digests = $(shell cd $(RELEASE)/images 2>/dev/null && grep -sH . *.digest | sed 's/\.digest:/=/' | paste -sd,)
$(RELEASE)/images/controller: DIGESTS = $(digests)

# What was linked into a binary, as .goreleaser.yaml has it for the plugin. Licences are looked up in what the build has fetched.
sbom = GOPROXY=off $(CYCLONEDX) bin -json -noserial -notimestamp -licenses -std -version $(VERSION) \
	-output $(RELEASE)/sbom/imageclean-$(1)_$(VERSION)_linux_$(2).cdx.json $(RELEASE)/linux/$(2)/imageclean-$(1)

# The licences of what others have in a program, on its platforms.
licences = $(RELEASE)/licences/$(1)/THIRD_PARTY_LICENSES.txt
write_licences = go -C tools/licences run . -module $(CURDIR) -output $(CURDIR)/$(call licences,$(1)) ./cmd/$(1) $(2)

$(RELEASE)/images/%: FORCE
	$(foreach a,$(ARCHES),GOOS=linux GOARCH=$a $(GO_BUILD) -o $(RELEASE)/linux/$a/imageclean-$* ./cmd/imageclean-$* &&) true
	@mkdir -p $(RELEASE)/sbom && $(foreach a,$(ARCHES),$(call sbom,$*,$a) &&) true
	@$(call write_licences,imageclean-$*,$(ARCHES:%=linux/%))
	@go -C tools/image run . layout $(call image_flags,$*) -others $(CURDIR)/$(call licences,imageclean-$*) -revision $(REVISION) \
		-output $(CURDIR)/$@ -digest-file $(CURDIR)/$@.digest $(foreach a,$(ARCHES),linux/$a=$(CURDIR)/$(RELEASE)/linux/$a/imageclean-$*)

.PHONY: release-push
release-push: ## Copy them to REGISTRY, with Docker's credentials
	@$(foreach c,$(COMPONENTS),go -C tools/image run . push -layout $(CURDIR)/$(RELEASE)/images/$c -name $(REGISTRY)/imageclean-$c:$(VERSION) &&) true

# It names the controller's image by digest. The archive is dated by the commit, and so is what is pushed of it.
.PHONY: release-chart
release-chart: DIGESTS = $(digests)
release-chart: $(HELM) ## The Helm chart, dist/release/chart/*.tgz, after the images
	@test -n '$(DIGESTS)' || { echo "there are no images: make release-images comes first"; exit 1; }
	@$(call chart,$(RELEASE)/chart/imageclean) && $(HELM) lint --strict --quiet $(RELEASE)/chart/imageclean
	@cd $(RELEASE)/chart && rm -f *.tgz && tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
		--mtime=@$$(git log -1 --format=%ct) -c imageclean | gzip -n9 >imageclean-$$(sed -n 's/^version: //p' imageclean/Chart.yaml).tgz && \
		touch -d @$$(git log -1 --format=%ct) *.tgz && $(HELM) show chart *.tgz

.PHONY: release-chart-push
release-chart-push: $(HELM) ## Push it to REGISTRY/charts, with Docker's credentials
	@pushed=$$($(HELM) push $(RELEASE)/chart/*.tgz oci://$(REGISTRY)/charts) && \
		echo "$$pushed" | awk '/^Pushed: / {sub(/:[^:\/]*$$/, "", $$2); name = $$2} /^Digest: / {print name "@" $$2}'

# What goreleaser and the manifest for krew are made with, after the images.
GORELEASE = VERSION=$(VERSION) REGISTRY=$(REGISTRY) DIGESTS=$(digests) PATH=$(dir $(CYCLONEDX)):$$PATH \
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) COMMIT_DATE=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd) $(GORELEASER)
PLUGIN_LICENCES = $(call write_licences,kubectl-imageclean,$(foreach s,linux darwin windows,$(ARCHES:%=$s/%)))
KREW_MANIFEST = go -C tools/krew-manifest run . -template $(CURDIR)/krew/imageclean.yaml -tag $(VERSION) \
	-checksums $(CURDIR)/$(RELEASE)/plugin/checksums.txt -output $(CURDIR)/$(RELEASE)/krew/imageclean.yaml

.PHONY: release-snapshot
release-snapshot: $(GORELEASER) release-images release-chart ## All that a release has, in dist/release, of the sources as they are; nothing leaves the machine
	@$(PLUGIN_LICENCES)
	$(GORELEASE) release --snapshot --clean --skip=sign
	$(KREW_MANIFEST)
	@cd $(RELEASE) && sha256sum images/*/index.json && du -h plugin/*.tar.gz plugin/*.zip sbom/* krew/* chart/*.tgz

.PHONY: release-publish
release-publish: $(GORELEASER) $(CYCLONEDX) ## What the workflow runs: the plugin of a tag, as the draft of a release on GitHub
	@$(PLUGIN_LICENCES)
	$(GORELEASE) release --clean
	$(KREW_MANIFEST)

##@ Test

.PHONY: test
test: lint verify unit verdicts fuzz check-html e2e test-release ## Everything CI runs

# What links Trivy's analysers takes minutes to compile: it is tested as it is built for the images, which shares the compiled packages,
# and without the race detector, for which all would be compiled once more.
HEAVY = /pkg/scan/trivy

.PHONY: unit
unit: $(HELM) ## Tests that need no cluster
	export HELM=$(HELM); $(foreach m,$(UNIT_MODULES),go -C $(m) test -short $(RACE) $$(go -C $(m) list ./... | grep -v $(HEAVY)) &&) true
	CGO_ENABLED=0 go test -trimpath -short $$(go list ./... | grep $(HEAVY))
	go -C test/e2e test $(RACE) ./screenshot ./pages

.PHONY: verdicts
verdicts: $(TRIVY) ## Verdicts beside those of the trivy CLI, over a corpus of images
	TRIVY=$(TRIVY) CGO_ENABLED=0 go -C test/e2e test -trimpath -count=1 ./verdicts

# go test fuzzes one target at a time.
.PHONY: fuzz
fuzz: ## Each fuzz target, for FUZZTIME (20s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z]*' pkg | while IFS=: read -r file func; do \
		./test/fuzz "./$$(dirname "$$file")" "$${func#func }" $(FUZZTIME) || exit 1; done

.PHONY: check-html
check-html: ## The HTML report in a browser: how it looks and works, and whether it is accessible; and whether the drawings of the documentation can be drawn
	@./test/html/check $(CURDIR)/artifacts/html

.PHONY: e2e
e2e: build images chart $(HELM) ## Tests against KUBECONFIG's cluster, or one made for them (KEEP=1 keeps it)
	@rm -f artifacts/report.html
	HELM=$(HELM) ARTIFACTS=$(CURDIR)/artifacts ./test/with-cluster sh -ec '$(E2E_TESTS)'
	$(LOOK_AT_PAGE)

.PHONY: test-release
test-release: release-snapshot $(KREW) ## Make a snapshot release, have krew install the plugin from it, and make it once more
	./test/krew $(KREW)
	./test/rebuild $(VERSION)

.PHONY: bench
bench: build images $(TRIVY) ## Each figure beside its target (PARTS=scan: only some)
	TRIVY=$(TRIVY) ./test/with-cluster go -C test/e2e run ./cmd/bench $(PARTS)

##@ Check

.PHONY: lint
lint: $(GOLANGCI_LINT) ## golangci-lint and gofmt, in every module with code of ours
	@bad=$$(gofmt -l cmd pkg test tools) && test -z "$$bad" || { echo "not as gofmt would have it: $$bad"; exit 1; }
	@failed=; for m in $(LINT_MODULES); do \
		echo "lint $$m"; (cd $$m && $(GOLANGCI_LINT) run --allow-parallel-runners ./...) || failed=1; done; test -z "$$failed"

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Make anew what is made from pkg/api, its copying and the definitions of its resources, the Helm chart of these, and the pages of docs/commands
	$(CONTROLLER_GEN) object paths=./pkg/api
	$(CONTROLLER_GEN) crd paths=./pkg/api output:crd:stdout >pkg/manifests/crds.yaml
	go run ./pkg/manifests/chart
	go test ./test/docs -run TestCommandPages_AreThoseOfTheCommands -update

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## No vulnerability is known of what the product calls. Fetches the database of Go's vulnerabilities
	./test/vulncheck $(GOVULNCHECK)

.PHONY: verify
verify: $(CONTROLLER_GEN) $(GORELEASER) $(ACTIONLINT) ## What is generated is as it would be, go.mod and go.sum are tidy, workflows and release settings are sound
	@$(CONTROLLER_GEN) crd paths=./pkg/api output:crd:stdout | diff -u pkg/manifests/crds.yaml - >&2 && \
		$(CONTROLLER_GEN) object paths=./pkg/api output:object:stdout | diff -u pkg/api/zz_generated.deepcopy.go - >&2 || \
		{ echo "pkg/api has changed: run make generate"; exit 1; }
	@go test ./test/docs -run TestCommandPages
	@go test ./test/chart -run TestChart_IsAsItIsMade
	@$(ACTIONLINT) && $(GORELEASER) check --quiet
	@failed=; for m in $(ALL_MODULES); do \
		echo "verify $$m"; go -C $$m mod tidy -diff || failed=1; done; test -z "$$failed"

##@ Cluster

.PHONY: cluster-up
cluster-up: ## A disposable cluster on this machine, of NODES nodes (2); prints the KUBECONFIG to use
	@$(TESTCLUSTER) up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## Take it down
	$(TESTCLUSTER) down

.PHONY: demo
demo: build images ## See the main job done on a disposable cluster, which stays up to look at
	env -u KUBECONFIG KEEP=1 ./test/with-cluster go -C test/e2e run ./cmd/demo

# The pictures show ages and times, and so differ each time: they are made by hand, not in CI.
.PHONY: docs-screens
docs-screens: build images ## Make the pictures in docs/screens, on a disposable cluster
	env -u KUBECONFIG ./test/with-cluster go -C test/e2e run ./cmd/screens

##@ Other

.PHONY: clean
clean: ## Remove what was built here; caches stay
	rm -rf bin dist artifacts

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile
