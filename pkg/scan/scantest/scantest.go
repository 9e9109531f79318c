// Package scantest is what tests of a scan are made with: a vulnerability database, a Detector that makes things up,
// and what every Detector and every Analyzer is held to. No binary has it in it.
package scantest
