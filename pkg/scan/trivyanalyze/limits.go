package trivyanalyze

import "time"

// limits bound what one layer may cost. Whatever exceeds one is an error of the layer, never cut short.
type limits struct {
	// time is how long a layer may take.
	time time.Duration
	// whole is the size of a file that its analyser reads as a whole, in bytes.
	whole int64
	// database is the size of an rpm database, in bytes. The analyser copies it to the disk.
	database int64
	// random is how many bytes an analyser may read of one file. Of a program or a jar, which may have any size, it picks parts.
	random int64
	// spool is the size of a file of an archive that is to be read in parts, in bytes: it has to be unpacked.
	spool int64
	// post is the size of all files together that are analysed after the walk, in bytes. They are kept in memory.
	post int64
	// packages is how many packages a layer may have.
	packages int
	// depth is how many folders a path may have.
	depth int
}

var defaultLimits = limits{
	time:     5 * time.Minute,
	whole:    32 << 20,
	database: 256 << 20,
	random:   512 << 20,
	spool:    512 << 20,
	post:     64 << 20,
	packages: 50_000,
	depth:    512,
}

// jarLimits bound what one jar may cost. Trivy makes the analyser of jars, so they are the same for every Analyzer.
type jarLimits struct {
	// depth is how many jars may be around a jar.
	depth int
	// directory is the size of a jar's list of files, in bytes.
	directory int64
	// name is the size of a file that names a jar, packed, in bytes.
	name int64
	// all is the size of all that is unpacked of one jar and those within it, in bytes. It lies on the disk beside the jar itself, which
	// has up to limits.spool of the node pod's gibibyte.
	all int64
}

var defaultJarLimits = jarLimits{depth: 4, directory: 16 << 20, name: 32 << 20, all: 256 << 20}

// spoolMemory is the size up to which a file of an archive is unpacked to memory, in bytes, and from which to the disk.
const spoolMemory = 8 << 20

// maxPath is the longest path that a layer can be unpacked with, PATH_MAX of Linux.
const maxPath = 4096
