// Package analyze turns a corpus into incidents: what failed first, why, how sure that is, and what to do.
//
// [Run] drives the whole pipeline. It searches the blocks of a corpus for the literals of the rules, on all cores; has candidate
// records cut, parsed and confirmed; applies the conditions of the rules; and then reasons over the findings:
//
//   - Findings of one proxy and one cause are one failure. What follows from a deeper failure (`leads_to` of a cause) becomes its
//     consequence; what a more precise cause explains as well (`refines`) is absorbed by it.
//   - Failures that agree in cause, plugin, callback, trap and place are one incident, over however many pods and workers.
//   - Confidence comes from the weights of the rules that speak for it and against it, which are set by what was measured on
//     the corpus (testdata/degraded.golden).
//
// The result is a [Report]; package reports renders it. Nothing here prints, reads files or knows a format.
package analyze
