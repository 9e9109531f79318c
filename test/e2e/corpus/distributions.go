package corpus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// distributions are images whose findings are of a distribution's packages.
func distributions(r *stock) []recipe {
	oldAlpine := packages{"openssl": "3.1.0-r4", "busybox": "1.36.1-r0", "curl": "8.1.2-r0", "musl": "1.2.4-r0"}
	enterprise9 := enterprise("rocky", "Rocky Linux", "9.3")
	return []recipe{
		{name: "debian-12", kind: "debian", findings: 5, base: r.debian["bookworm"]},
		{name: "debian-11", kind: "debian", findings: 5, base: r.debian["bullseye"]},
		// It has modules of Python with vulnerabilities that PyPI knows of: they are Debian's to judge.
		{name: "debian-11-python", kind: "debian", findings: 5, base: r.python},
		{name: "debian-12-old", kind: "debian", findings: 10, layers: []files{debian("12.0", packages{
			"openssl": "3.0.9-1", "libc6 (glibc)": "2.36-9", "zlib1g (zlib)": "1:1.2.13.dfsg-1", "curl": "7.88.1-10",
		})}},
		{name: "debian-10-ended", kind: "debian", findings: 3, layers: []files{debian("10.13", packages{"openssl": "1.1.1d-0+deb10u6", "bash": "5.0-4"})}},
		{name: "debian-testing", layers: []files{join(debian("trixie/sid", packages{"openssl": "3.0.9-1"}), files{
			"etc/os-release": text("ID=debian\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux trixie/sid\"\n"),
		})}},
		{name: "distroless", kind: "debian", findings: 5, layers: []files{join(release("debian", "Debian GNU/Linux", "12"), files{
			"etc/debian_version":            text("12.4\n"),
			"var/lib/dpkg/status.d/openssl": text(dpkg("openssl", "3.0.9-1")),
			"var/lib/dpkg/status.d/base":    text(dpkg("base-files", "12.4+deb12u4")),
			"var/lib/dpkg/status.d/libc6":   text(dpkg("libc6 (glibc)", "2.36-9")),
		})}},
		{name: "ubuntu-22.04", kind: "ubuntu", findings: 5, layers: []files{ubuntu("22.04", packages{
			"openssl": "3.0.2-0ubuntu1", "bash": "5.1-6ubuntu1", "libc6 (glibc)": "2.35-0ubuntu3",
		})}},
		{name: "ubuntu-20.04-ended", kind: "ubuntu", findings: 3, layers: []files{ubuntu("20.04", packages{"openssl": "1.1.1f-1ubuntu2", "bash": "5.0-6ubuntu1"})}},
		{name: "ubuntu-unheard-of", layers: []files{ubuntu("77.04", packages{"openssl": "1.0-1"})}},

		{name: "alpine-3.18", kind: "alpine", findings: 5, layers: []files{alpine("3.18.0", oldAlpine)}},
		{name: "alpine-3.19", kind: "alpine", findings: 2, layers: []files{alpine("3.19.0", packages{"libssl3 (openssl)": "3.1.4-r0", "busybox": "1.36.1-r15"})}},
		{name: "alpine-3.22", kind: "alpine", findings: 3, layers: []files{alpine("3.22.1", packages{"libcrypto3 (openssl)": "3.5.1-r0"})}},
		{name: "alpine-3.22-clean", layers: []files{alpine("3.22.2", packages{"libcrypto3 (openssl)": "3.5.4-r0", "zlib": "1.3.1-r2"})}},
		{name: "alpine-3.12-ended", layers: []files{alpine("3.12.0", packages{"musl": "1.1.24-r8"})}},
		{name: "alpine-edge", kind: "alpine", findings: 1, layers: []files{join(alpine("3.23.0_alpha20250612", packages{"openssl": "3.5.0-r0"}), files{
			"etc/apk/repositories": text("https://dl-cdn.alpinelinux.org/alpine/edge/main\n"),
		})}},
		{name: "alpine-usr-merged", kind: "alpine", findings: 4, layers: []files{join(release("alpine", "Alpine Linux", "3.18.4"), files{
			"etc/alpine-release": text("3.18.4\n"), "usr/lib/apk/db/installed": text(apk(oldAlpine)),
		})}},

		{name: "rocky-9", kind: "rocky", findings: 5, layers: []files{join(enterprise9, files{"var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-9"]})}},
		{name: "rocky-8", kind: "rocky", findings: 3, layers: []files{join(enterprise("rocky", "Rocky Linux", "8.4"), files{
			"var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-8"],
		})}},
		{name: "alma-9", kind: "alma", findings: 5, layers: []files{join(enterprise("almalinux", "AlmaLinux", "9.2"), files{
			"usr/lib/sysimage/rpm/rpmdb.sqlite": r.rpm["alma-9"],
		})}},
		{name: "third-party-rpms", layers: []files{join(enterprise9, files{"var/lib/rpm/rpmdb.sqlite": r.rpm["third-party"]})}},
		{name: "centos-7-bdb", kind: "red hat", findings: 4, layers: []files{join(enterprise("centos", "CentOS Linux", "7.5"), files{
			"var/lib/rpm/Packages": r.rpm["centos7-plain/Packages"],
		})}},
		{name: "red-hat-8-modules", kind: "red hat", findings: 1, layers: []files{join(enterprise("rhel", "Red Hat Enterprise Linux", "8.3"), files{
			"var/lib/rpm/Packages": r.rpm["centos8-modularitylabel/Packages"],
		})}},
		{name: "red-hat-9-content-sets", kind: "red hat", findings: 3, layers: []files{
			join(enterprise("rhel", "Red Hat Enterprise Linux", "9.2"), files{
				"var/lib/rpm/rpmdb.sqlite": r.rpm["red-hat-9"],
				"root/buildinfo/content_manifests/base.json": text(
					`{"metadata": {"icm_version": 1}, "content_sets": ["rhel-9-for-x86_64-baseos-rpms", "rhel-9-for-x86_64-appstream-rpms"]}`),
			}),
			{"srv/data": text("a layer above it")},
		}},
		{name: "sles-15-ndb", kind: "suse", findings: 1, layers: []files{join(release("sles", "SLES", "15.3"), files{"usr/lib/sysimage/rpm/Packages.db": r.rpm["sle15-bci/Packages.db"]})}},
		{name: "mariner-2", kind: "mariner", findings: 2, layers: []files{join(release("mariner", "Common Base Linux Mariner", "2.0"), files{
			"var/lib/rpm/rpmdb.sqlite": r.rpm["cbl-mariner-2.0/rpmdb.sqlite"],
		})}},
		{name: "amazon-2", layers: []files{join(release("amzn", "Amazon Linux", "2"), files{
			"etc/system-release": text("Amazon Linux release 2 (Karoo)\n"), "var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-9"],
		})}},
		{name: "oracle-8", layers: []files{join(release("ol", "Oracle Linux Server", "8.4"), files{
			"etc/oracle-release": text("Oracle Linux Server release 8.4\n"), "var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-9"],
		})}},
		{name: "photon-4", layers: []files{join(release("photon", "VMware Photon OS", "4.0"), files{"var/lib/rpm/rpmdb.sqlite": r.rpm["rocky-9"]})}},
		{name: "leap-15", layers: []files{join(release("opensuse-leap", "openSUSE Leap", "15.5"), files{"usr/lib/sysimage/rpm/rpmdb.sqlite": r.rpm["rocky-9"]})}},
		{name: "wolfi", layers: []files{join(release("wolfi", "Wolfi", "20230201"), files{"lib/apk/db/installed": text(apk(oldAlpine))})}},
		// Nobody writes advisories for it that the scanners read.
		{name: "fedora-35", doubtful: true, layers: []files{join(enterprise("fedora", "Fedora Linux", "35"), files{
			"var/lib/rpm/rpmdb.sqlite": r.rpm["fedora35/rpmdb.sqlite"],
		})}},
		{name: "no-distribution", doubtful: true, layers: []files{{"var/lib/dpkg/status": text(dpkg("openssl", "3.0.9-1"))}}},
	}
}

// packages are versions of packages, by name, with the name of the source in brackets where that is another.
type packages map[string]string

func release(id, name, version string) files {
	return files{"etc/os-release": text(fmt.Sprintf("ID=%s\nNAME=%q\nVERSION_ID=%q\nPRETTY_NAME=%q\n", id, name, version, name+" "+version))}
}

func debian(version string, installed packages) files {
	major, _, _ := strings.Cut(version, ".")
	return join(release("debian", "Debian GNU/Linux", major), files{
		"etc/debian_version": text(version + "\n"), "var/lib/dpkg/status": text(dpkgStatus(installed)),
	})
}

func ubuntu(version string, installed packages) files {
	return join(release("ubuntu", "Ubuntu", version), files{
		"etc/lsb-release":     text("DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=" + version + "\n"),
		"var/lib/dpkg/status": text(dpkgStatus(installed)),
	})
}

func alpine(version string, installed packages) files {
	return join(release("alpine", "Alpine Linux", version), files{
		"etc/alpine-release": text(version + "\n"), "lib/apk/db/installed": text(apk(installed)),
	})
}

// enterprise is a distribution in the manner of Red Hat's.
func enterprise(id, name, version string) files {
	return join(release(id, name, version), files{"etc/" + strings.Replace(id, "rhel", "redhat", 1) + "-release": text(name + " release " + version + " (Core)\n")})
}

func dpkgStatus(installed packages) string {
	var status strings.Builder
	for _, name := range slices.Sorted(maps.Keys(installed)) {
		status.WriteString(dpkg(name, installed[name]) + "\n")
	}
	return status.String()
}

func dpkg(name, version string) string {
	name, source, _ := strings.Cut(strings.TrimSuffix(name, ")"), " (")
	entry := "Package: " + name + "\nStatus: install ok installed\nPriority: optional\nArchitecture: amd64\n"
	if source != "" {
		entry += "Source: " + source + "\n"
	}
	return entry + "Version: " + version + "\nMaintainer: Nobody <nobody@example.com>\nDescription: a package\n"
}

func apk(installed packages) string {
	var db strings.Builder
	for _, name := range slices.Sorted(maps.Keys(installed)) {
		binary, origin, other := strings.Cut(strings.TrimSuffix(name, ")"), " (")
		if !other {
			origin = binary
		}
		fmt.Fprintf(&db, "P:%s\nV:%s\nA:x86_64\nL:MIT\no:%s\n\n", binary, installed[name], origin)
	}
	return db.String()
}
