package corpus

import (
	"fmt"
	"io/fs"
)

// Names in an archive by which a layer deletes a file, and everything that lower layers have in a folder.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// layered are images whose upper layers change what lower ones have.
func layered(r *stock) []recipe {
	old := debian("12.4", packages{"openssl": "3.0.9-1", "curl": "7.88.1-10"})
	lodash, minimist := npm("app", "lodash 4.17.4"), npm("app", "minimist 0.0.8")
	const status, lodashJSON = "var/lib/dpkg/status", "app/node_modules/lodash/package.json"
	recipes := []recipe{
		{name: "nothing", layers: []files{{"etc/motd": text("no package at all\n")}}},
		{name: "no-file", layers: []files{{"srv": {Mode: 0o755 | fs.ModeDir}}}},
		{name: "distribution-without-packages", doubtful: true, layers: []files{{"etc/debian_version": text("12.4\n")}}},

		{name: "package-upgraded", layers: []files{debian("12.4", packages{"curl": "7.88.1-10"}), {status: text(dpkgStatus(packages{"curl": "7.88.1-99"}))}}},
		{name: "package-removed", kind: "debian", findings: 2, layers: []files{old, {status: text(dpkgStatus(packages{"curl": "7.88.1-10"}))}}},
		{name: "package-added", kind: "debian", findings: 5, layers: []files{old, {"var/lib/dpkg/status.d/zlib1g": text(dpkg("zlib1g (zlib)", "1:1.2.13.dfsg-1"))}}},
		{name: "package-list-deleted", doubtful: true, layers: []files{old, {"var/lib/dpkg/" + whiteout + "status": text("")}}},
		{name: "package-manager-deleted", doubtful: true, layers: []files{old, {"var/lib/" + whiteout + "dpkg": text("")}}},
		{name: "package-manager-deleted-npm-left", kind: "npm", findings: 5, doubtful: true, layers: []files{old, lodash, {"var/lib/" + whiteout + "dpkg": text("")}}},
		{name: "release-deleted", kind: "debian", findings: 5, layers: []files{old, {"etc/" + whiteout + "debian_version": text(""), "etc/" + whiteout + "os-release": text("")}}},
		// The CLI does not know that a layer can hide everything below it.
		{name: "root-opaque", kind: "debian", findings: 5, layers: []files{join(old, lodash), {opaque: text(""), "srv/data": text("the only file")}}},
		{name: "debian-upgraded", kind: "npm", findings: 5, base: r.debian["bookworm"], layers: []files{
			{status: text(dpkgStatus(packages{"openssl": "3.0.99-1"}))}, lodash,
		}},
		{name: "distribution-upgraded", kind: "debian", findings: 1, layers: []files{debian("11.1", packages{"openssl": "1.1.1k-1"}), debian("13.1", packages{"openssl": "3.5.1-1"})}},
		{name: "rpm-database-changed", kind: "rocky", findings: 3, layers: []files{
			join(enterprise("rocky", "Rocky Linux", "9.3"), files{"var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-9"]}),
			{"var/lib/rpm/rpmdb.sqlite": r.rpm["red-hat-9"]},
		}},
		{name: "rpm-database-moved", kind: "rocky", findings: 5, layers: []files{
			join(enterprise("rocky", "Rocky Linux", "9.3"), files{"var/lib/rpm/rpmdb.sqlite": r.rpm["red-hat-9"]}),
			{"usr/lib/sysimage/rpm/rpmdb.sqlite": r.rpm["rocky-9"], "var/lib/" + whiteout + "rpm": text("")},
		}},

		{name: "module-deleted", kind: "npm", findings: 2, layers: []files{join(lodash, minimist), {"app/node_modules/" + whiteout + "lodash": text("")}}},
		{name: "manifest-deleted", kind: "npm", findings: 2, layers: []files{join(lodash, minimist), {"app/node_modules/lodash/" + whiteout + "package.json": text("")}}},
		{name: "modules-opaque", layers: []files{join(lodash, minimist), {"app/node_modules/" + opaque: text("")}}},
		{name: "modules-opaque-and-new", kind: "npm", findings: 2, layers: []files{lodash, join(minimist, files{"app/node_modules/" + opaque: text("")})}},
		{name: "parent-opaque", kind: "npm", findings: 2, layers: []files{join(lodash, npm("srv", "minimist 0.0.8")), {"app/" + opaque: text("")}}},
		{name: "folder-where-a-file-was", kind: "npm", findings: 5, layers: []files{lodash, {lodashJSON: {Mode: 0o755 | fs.ModeDir}}}},
		{name: "file-where-a-folder-was", kind: "npm", findings: 5, layers: []files{lodash, {"app": text("a file")}}},
		{name: "neighbour-of-deleted", kind: "npm", findings: 5, layers: []files{
			join(npm("app", "lodash.merge 4.6.0"), npm("application", "lodash 4.17.4")), {whiteout + "app": text("")},
		}},
		{name: "binary-deleted", layers: []files{{"usr/bin/server": program(r.server)}, {"usr/bin/" + whiteout + "server": text("")}}},
		{name: "module-changed", layers: []files{lodash, npm("app", "lodash 4.17.21")}},
		{name: "module-deleted-and-back", kind: "npm", findings: 5, layers: []files{lodash, {"app/" + whiteout + "node_modules": text("")}, lodash}},
		{name: "module-added-and-deleted-twice", layers: []files{lodash, {lodashJSON: text("{}")}, lodash, {"app/node_modules/lodash/" + opaque: text("")}}},
		{name: "named-from-the-root", kind: "npm", findings: 2, layers: []files{
			join(lodash, minimist), {"./app/node_modules/" + whiteout + "lodash": text("")}, {"./srv/data": text("")},
		}},
		// The CLI does not see that a file is not what it was, unless it reads the new one too.
		{name: "binary-changed", kind: "go", findings: 5, layers: []files{{"usr/bin/server": program(r.server)}, {"usr/bin/server": program([]byte("#!/bin/sh\n"))}}},
		{name: "binary-replaced-by-link", kind: "go", findings: 5, layers: []files{{"usr/bin/server": program(r.server)}, {"usr/bin/server": {Mode: 0o777 | fs.ModeSymlink, Link: "sh"}}}},
		{name: "jar-deleted", kind: "java", findings: 2, layers: []files{
			{"app/lib/log4j.jar": {Content: jar("org.apache.logging.log4j:log4j-core 2.14.1")}, "app/lib/yaml.jar": {Content: jar("org.yaml:snakeyaml 1.30")}},
			{"app/lib/" + whiteout + "log4j.jar": text("")},
		}},
		{name: "same-module-twice", kind: "npm", findings: 5, layers: []files{lodash, npm("srv", "lodash 4.17.4")}},
	}
	twenty := recipe{name: "twenty-layers", kind: "npm", findings: 5, layers: []files{alpine("3.22.1", packages{"musl": "1.2.5-r10"})}}
	for i := range 19 {
		twenty.layers = append(twenty.layers, npm(fmt.Sprint("srv/", i), "lodash 4.17."+fmt.Sprint(i)))
	}
	return append(recipes, twenty)
}
