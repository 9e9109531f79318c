package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// linkedPackage is a package that a program links.
type linkedPackage struct {
	Dir      string
	Standard bool // it is of Go itself
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path, Version, Dir string }
	}
}

// toolchain is the Go that a program is built with.
type toolchain struct{ GOROOT, GOVERSION string }

// owner is who has made a package, as "path version", and the folder that is theirs.
func (t toolchain) owner(p *linkedPackage) (name, folder string) {
	switch {
	case p.Standard:
		return "Go " + strings.TrimPrefix(t.GOVERSION, "go"), t.GOROOT
	case p.Module.Replace != nil:
		return strings.TrimSpace(p.Module.Replace.Path + " " + p.Module.Replace.Version), p.Module.Replace.Dir
	}
	return p.Module.Path + " " + p.Module.Version, p.Module.Dir
}

func findToolchain(ctx context.Context, folder string) (toolchain, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "-json", "GOROOT", "GOVERSION")
	cmd.Dir = folder
	out, err := cmd.Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("finding Go: %w", err)
	}
	var t toolchain
	err = json.Unmarshal(out, &t)
	return t, err
}

// link lists what a program links on a platform, but for what is ours.
func link(ctx context.Context, folder, platform, program string) ([]linkedPackage, error) {
	system, arch, found := strings.Cut(platform, "/")
	if !found {
		return nil, fmt.Errorf("reading the platform %q: write os/arch", platform)
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Standard,Module", program)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing what %s links: %w: %s", program, err, strings.TrimSpace(said.String()))
	}
	var linked []linkedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p linkedPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return linked, nil
		case err != nil:
			return nil, fmt.Errorf("reading what %s links: %w", program, err)
		}
		if p.Standard || p.Module != nil && !p.Module.Main {
			linked = append(linked, p)
		}
	}
}
