// Package faulttest holds campaigns against whole repositories: init, backup,
// restore and check on a disk that loses its power or refuses calls, and on a
// bucket in which things go wrong by chance. It has tests and nothing else.
//
// What they hold the program to, whatever happens: a snapshot whose backup has
// returned success restores to the same bytes and metadata until the end; a
// restore that reports success is right; a check never calls damage right; and
// the next run succeeds with no manual step.
package faulttest
