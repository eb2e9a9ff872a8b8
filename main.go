// Command bluesky backs up directory trees into a bucket and restores them.
package main

import (
	"os"

	"bluesky/cmd"
)

func main() { os.Exit(cmd.Main()) }
