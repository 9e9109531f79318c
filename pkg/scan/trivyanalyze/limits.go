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
	// jarDepth is how many jars may be around a jar.
	jarDepth int
	// jarDirectory is the size of a jar's list of files, in bytes.
	jarDirectory int64
	// jarBytes is the size of all that is unpacked of one jar and those within it, in bytes.
	jarBytes int64
}

var defaultLimits = limits{
	time:         5 * time.Minute,
	whole:        32 << 20,
	database:     256 << 20,
	random:       512 << 20,
	spool:        512 << 20,
	post:         64 << 20,
	packages:     50_000,
	depth:        512,
	jarDepth:     4,
	jarDirectory: 16 << 20,
	jarBytes:     512 << 20,
}

// spoolMemory is the size up to which a file of an archive is unpacked to memory, in bytes, and from which to the disk.
const spoolMemory = 8 << 20

// maxPath is the longest path that a layer can be unpacked with, PATH_MAX of Linux.
const maxPath = 4096
