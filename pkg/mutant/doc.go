// Package mutant plants known defects, so that a suite can prove that it would
// notice them. Production code asks Is at the place where somebody might make
// the mistake. Binaries built without the tag mutants hold no defect at all: Is
// is constantly false there, and the compiler drops what stands behind it.
// .ci/mutants says which suite has to notice which defect, and how.
package mutant
