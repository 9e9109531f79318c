// Package docs holds the documentation to what it is about: its links lead somewhere, its command lines are accepted by the plugin, what
// it names is there, and what is generated is as it would be.
package docs_test

const root = "../.."
