package corpus

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// ManifestJar is a jar in the corpus that is known by its manifest, "group:artifact version".
const ManifestJar = "commons-io:commons-io 2.6"

// languages are images whose findings are of packages of programming languages.
func languages(r *stock) []recipe {
	crates := rustBinary("time 0.1.43", "chrono 0.4.10", "hyper 0.14.5", "regex 1.5.4", "smallvec 1.6.0", "tokio 1.7.0")
	return []recipe{
		{name: "npm-installed", kind: "npm", findings: 5, layers: []files{r.npm}},
		{name: "npm-on-alpine", kind: "npm", findings: 5, layers: []files{
			alpine("3.22.2", packages{"zlib": "1.3.1-r2"}),
			join(npm("app", "express 4.17.1", "ip 2.0.0", "@types/node 18.0.0"), npm("app/node_modules/express", "qs 6.7.0", "semver 7.3.0"), npm("usr/lib", "tar 4.4.13")),
		}},
		{name: "pip-installed", kind: "python", findings: 5, layers: []files{r.pip}},
		{name: "python", kind: "python", findings: 5, layers: []files{join(
			python("Django 2.2.1", "Jinja2 2.10", "requests 2.19.1", "urllib3 1.24.1", "PyYAML 5.0"),
			files{
				"usr/lib/python3.9/site-packages/Flask-0.12.egg-info/PKG-INFO": text("Metadata-Version: 1.1\nName: Flask\nVersion: 0.12\n"),
				"usr/lib/python3.9/site-packages/wheel-0.37.0.egg-info":        text("Metadata-Version: 1.1\nName: wheel\nVersion: 0.37.0\n"),
				"usr/lib/python3.9/site-packages/Werkzeug-0.14-py3.9.egg":      {Content: archive(files{"EGG-INFO/PKG-INFO": text("Name: Werkzeug\nVersion: 0.14\n")})},
			},
		)}},
		// What the distribution has installed is the distribution's to judge.
		{name: "python-of-debian", layers: []files{join(debian("12.12", packages{"python3-jinja2": "3.1.2-1"}), python("Jinja2 2.10"), files{
			"var/lib/dpkg/info/python3-jinja2.md5sums": text("0  usr/lib/python3.9/site-packages/Jinja2-2.10.dist-info/METADATA\n"),
		})}},
		{name: "conda", layers: []files{{"opt/conda/conda-meta/numpy-1.16.0-py37.json": text(`{"name": "numpy", "version": "1.16.0", "license": "BSD"}`)}}},
		{name: "go-binary", kind: "go", findings: 5, layers: []files{{"usr/bin/server": program(r.server)}}},
		{name: "go-binary-not-executable", layers: []files{{"srv/server": {Content: r.server}}}},
		{name: "rust-binary", kind: "rust", findings: 5, layers: []files{{"usr/bin/server": program(crates)}}},
		{name: "cargo-lock", kind: "rust", findings: 1, layers: []files{{
			"app/Cargo.lock": text("version = 3\n\n[[package]]\nname = \"regex\"\nversion = \"1.5.4\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"),
		}}},
		{name: "ruby", kind: "ruby", findings: 5, layers: []files{ruby("actionpack 5.2.0", "nokogiri 1.10.0", "rack 2.0.5", "rake 12.0.0", "json 2.1.0")}},
		{name: "php", kind: "php", findings: 5, layers: []files{php("guzzlehttp/guzzle 6.5.0", "guzzlehttp/psr7 1.8.0", "symfony/http-kernel 4.4.0", "twig/twig 2.14.0")}},
		{name: "dotnet", kind: ".net", findings: 5, layers: []files{{"app/app.deps.json": text(dotnet(
			"Newtonsoft.Json 12.0.3", "log4net 2.0.8", "RestSharp 106.10.0", "System.Net.Http 4.3.0", "System.Text.Encodings.Web 4.5.0", "System.Text.RegularExpressions 4.3.0"))}}},
		{name: "nuget-lock", kind: ".net", findings: 1, layers: []files{{"app/packages.lock.json": text(
			`{"version": 1, "dependencies": {"net6.0": {"Newtonsoft.Json": {"type": "Direct", "requested": "[12.0.3, )", "resolved": "12.0.3"}}}}`)}}},
		{name: "java", kind: "java", findings: 5, layers: []files{{
			"app/lib/log4j-core-2.14.1.jar": {Content: jar("org.apache.logging.log4j:log4j-core 2.14.1")},
			"app/lib/manifest.jar": {Content: archive(files{"META-INF/MANIFEST.MF": text(
				"Manifest-Version: 1.0\r\nImplementation-Title: commons-io\r\nImplementation-Vendor-Id: commons-io\r\nImplementation-Version: 2.6\r\n")})},
			"app/app.war": {Content: archive(files{
				"WEB-INF/lib/snakeyaml-1.30.jar":          {Content: jar("org.yaml:snakeyaml 1.30")},
				"WEB-INF/lib/jackson-databind-2.9.jar":    {Content: jar("com.fasterxml.jackson.core:jackson-databind 2.9.10")},
				"META-INF/maven/shop/cart/pom.properties": text("groupId=shop\nartifactId=cart\nversion=1\n"),
			})},
		}}},
		{name: "sbom", kind: "npm", findings: 5, layers: []files{{"opt/shop/shop.cdx.json": text(
			`{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [
				{"bom-ref": "a", "type": "library", "name": "lodash", "version": "4.17.4", "purl": "pkg:npm/lodash@4.17.4"}]}`)}}},
		// A scan of an image judges what is installed, and not what a project asks for.
		{name: "lockfiles", layers: []files{{
			"app/package-lock.json": text(`{"name": "app", "lockfileVersion": 3, "packages": {"": {"dependencies": {"lodash": "4.17.4"}}, "node_modules/lodash": {"version": "4.17.4"}}}`),
			"app/yarn.lock":         text("# yarn lockfile v1\n\nlodash@^4.17.4:\n  version \"4.17.4\"\n  resolved \"https://registry.yarnpkg.com/lodash/-/lodash-4.17.4.tgz\"\n"),
			"app/pnpm-lock.yaml":    text("lockfileVersion: 5.4\ndependencies:\n  lodash: 4.17.4\npackages:\n  /lodash/4.17.4:\n    resolution: {integrity: sha512-x}\n"),
			"app/requirements.txt":  text("Jinja2==2.10\n"),
			"app/poetry.lock":       text("[[package]]\nname = \"jinja2\"\nversion = \"2.10\"\n\n[metadata]\nlock-version = \"2.0\"\n"),
			"app/Pipfile.lock":      text(`{"default": {"jinja2": {"version": "==2.10"}}}`),
			"app/Gemfile.lock":      text("GEM\n  remote: https://rubygems.org/\n  specs:\n    rake (12.0.0)\n\nDEPENDENCIES\n  rake\n"),
			"app/composer.lock":     text(`{"packages": [{"name": "guzzlehttp/guzzle", "version": "6.5.0"}]}`),
			"app/go.mod":            text("module app\n\ngo 1.20\n\nrequire golang.org/x/text v0.3.2\n"),
			"app/pom.xml":           text("<project><groupId>a</groupId><artifactId>b</artifactId><version>1</version></project>"),
		}}},
	}
}

// split is a package's name and version, "name version".
func split(spec string) (name, version string) {
	name, version, _ = strings.Cut(spec, " ")
	return name, version
}

func npm(root string, specs ...string) files {
	all := files{}
	for _, spec := range specs {
		name, version := split(spec)
		all[path.Join(root, "node_modules", name, "package.json")] = text(fmt.Sprintf(`{"name": %q, "version": %q, "license": "MIT"}`, name, version))
	}
	return all
}

func python(specs ...string) files {
	all := files{}
	for _, spec := range specs {
		name, version := split(spec)
		all[fmt.Sprintf("usr/lib/python3.9/site-packages/%s-%s.dist-info/METADATA", name, version)] =
			text(fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nLicense: BSD\n", name, version))
	}
	return all
}

func ruby(specs ...string) files {
	all := files{}
	for _, spec := range specs {
		name, version := split(spec)
		all[fmt.Sprintf("usr/lib/ruby/gems/2.7.0/specifications/%s-%s.gemspec", name, version)] = text(fmt.Sprintf(
			"Gem::Specification.new do |s|\n  s.name = %q.freeze\n  s.version = %q\n  s.licenses = [\"MIT\".freeze]\nend\n", name, version))
	}
	return all
}

func php(specs ...string) files {
	type installed struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	var all []installed
	for _, spec := range specs {
		name, version := split(spec)
		all = append(all, installed{name, version})
	}
	return files{"app/vendor/composer/installed.json": {Content: encode(map[string]any{"packages": all})}}
}

func dotnet(specs ...string) string {
	libraries, targets := map[string]any{}, map[string]any{}
	for _, spec := range specs {
		id := strings.Replace(spec, " ", "/", 1)
		libraries[id] = map[string]any{"type": "package", "serviceable": true, "sha512": ""}
		targets[id] = map[string]any{"runtime": map[string]any{"lib/a.dll": map[string]any{}}}
	}
	const target = ".NETCoreApp,Version=v6.0"
	return string(encode(map[string]any{
		"runtimeTarget": map[string]any{"name": target}, "targets": map[string]any{target: targets}, "libraries": libraries,
	}))
}

// rustBinary is a program that says what it was built from, as cargo-auditable has it: JSON in a section of its own.
func rustBinary(specs ...string) []byte {
	list := []map[string]any{{"name": "server", "version": "1.0.0", "source": "local", "root": true}}
	for _, spec := range specs {
		name, version := split(spec)
		list = append(list, map[string]any{"name": name, "version": version, "source": "crates.io"})
	}
	var body bytes.Buffer
	w := zlib.NewWriter(&body)
	_, _ = w.Write(encode(map[string]any{"packages": list})) // a buffer takes everything
	_ = w.Close()
	const names = "\x00.dep-v0\x00.shstrtab\x00"
	const start = 64 // the size of an ELF header
	var all bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Shoff: start + uint64(body.Len()+len(names)), Ehsize: start, Shentsize: 64, Shnum: 3, Shstrndx: 2,
		},
		body.Bytes(), []byte(names), elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: start, Size: uint64(body.Len())},
		elf.Section64{Name: 9, Type: uint32(elf.SHT_STRTAB), Off: start + uint64(body.Len()), Size: uint64(len(names))},
	} {
		_ = binary.Write(&all, binary.LittleEndian, part)
	}
	return all.Bytes()
}

// jar is a Java archive that names itself, "group:artifact version".
func jar(spec string) []byte {
	id, version := split(spec)
	group, artifact, _ := strings.Cut(id, ":")
	return archive(files{
		"META-INF/MANIFEST.MF": text("Manifest-Version: 1.0\r\n"),
		path.Join("META-INF/maven", group, artifact, "pom.properties"): text(fmt.Sprintf("groupId=%s\nartifactId=%s\nversion=%s\n", group, artifact, version)),
	})
}

// archive is a zip file.
func archive(content map[string]images.File) []byte {
	var all bytes.Buffer
	w := zip.NewWriter(&all)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		file, err := w.Create(name)
		if err == nil {
			_, err = file.Write(content[name].Content)
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return all.Bytes()
}

func encode(v any) []byte {
	content, err := json.Marshal(v)
	if err != nil {
		panic(err) // there are only strings in it
	}
	return content
}
