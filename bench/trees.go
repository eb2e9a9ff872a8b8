package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A tree is something to back up, in two versions.
type tree struct {
	name   string
	title  string
	change string // what differs in the changed version
	build  func(ctx context.Context, g *generator, root string) error
	alter  func(ctx context.Context, g *generator, v *versions) error
}

const (
	changeOfFiles = "1 % of the files got 100 bytes more in the middle, 0.5 % are new, 0.5 % are gone, 0.5 % have another name"
	changeOfImage = "1 % of the bytes are overwritten, in regions of 4 to 64 KiB"
	changeOfFile  = changeOfImage + ", and 1,000 bytes stand in the middle that push all behind them on"
)

// allTrees returns the trees at a scale of up to 1. goroot is what the
// toolchain tree is a copy of.
func allTrees(scale float64, goroot string) []tree {
	part := func(n int64) int64 { return max(1, int64(math.Round(float64(n)*scale))) }
	image := imageFile{size: part(2 << 30), text: 0.4, random: 0.3}
	random := imageFile{size: part(1 << 30), random: 1, insert: 1000}
	return []tree{
		{
			name: "toolchain", title: "a Go toolchain: sources, binaries, archives", change: changeOfFiles,
			build: func(ctx context.Context, _ *generator, root string) error { return copyTree(ctx, goroot, root, scale) },
			alter: alterFiles,
		},
		{
			name: "small", title: "small files of 0.5 to 8 KiB: three of four are prose, the fourth is random", change: changeOfFiles,
			build: func(ctx context.Context, g *generator, root string) error {
				return g.smallFiles(ctx, root, int(part(100_000)))
			},
			alter: alterFiles,
		},
		{
			name: "image", title: "a disk image: 40 % prose, 30 % random, 30 % holes", change: changeOfImage,
			build: image.build, alter: image.alter,
		},
		{
			name: "random", title: "one file that does not compress", change: changeOfFile,
			build: random.build, alter: random.alter,
		},
	}
}

func treeNames() []string {
	var names []string
	for _, t := range allTrees(1, "") {
		names = append(names, t.name)
	}
	return names
}

// chooseTrees returns the trees that are named, in the order of names.
func chooseTrees(names string, scale float64, goroot string) ([]tree, error) {
	if goroot == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return nil, fmt.Errorf("where the Go toolchain is: %w; say it with -toolchain", err)
		}
		goroot = strings.TrimSpace(string(out))
	}
	all := allTrees(scale, goroot)
	if names == "all" {
		return all, nil
	}
	var chosen []tree
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(t tree) bool { return t.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no tree %q; there are %s", name, strings.Join(treeNames(), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// makeTree makes both versions of t below folder.
func makeTree(ctx context.Context, t *tree, folder string) (*versions, error) {
	v := &versions{root: filepath.Join(folder, "source"), other: filepath.Join(folder, "other")}
	g := newGenerator(t.name)
	if err := t.build(ctx, g, v.root); err != nil {
		return nil, err
	}
	var err error
	if v.files, v.bytes, err = count(v.root); err != nil {
		return nil, err
	}
	return v, t.alter(ctx, g, v)
}
