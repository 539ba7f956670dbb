package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// large is a program that maps and touches 2 GiB, starts 64 threads that wait some calls deep, and crashes.
const large = `
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((noinline)) static int deep(int n) { return n ? deep(n - 1) + 1 : pause(); }
static void *run(void *arg) { return (void *)(long)deep(20); }

int main(int argc, char **argv) {
  size_t size = (size_t)atol(argv[1]) << 20;
  unsigned *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; i < size / sizeof *memory; i++)
    memory[i] = i * 2654435761u;
  for (int i = 0; i < 64; i++) {
    pthread_t t;
    pthread_create(&t, NULL, run, NULL);
  }
  sleep(1);
  return *(volatile int *)0x28;
}
`

// measureCore reads the core dump of a process of so many MiB, beside eu-stack.
func measureCore(mib int64, runs int) error {
	for _, tool := range []string{"gcc", "eu-stack", "zstd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed: apt-get install gcc elfutils zstd", tool)
		}
	}
	dir, err := os.MkdirTemp("", "wasmortem-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, runs: runs}
	program, core, libc, err := b.crash(mib)
	if err != nil {
		return err
	}
	info, err := os.Stat(core)
	if err != nil {
		return err
	}
	packed := core + ".zst"
	if out, err := exec.Command("zstd", "-q", "-1", core, "-o", packed).CombinedOutput(); err != nil {
		return fmt.Errorf("packing the core: %w: %s", err, out)
	}
	wm := b.path("wasmortem")
	b.run("eu-stack", info.Size(), "eu-stack", "--core", core, "-e", program)
	b.run("wasmortem inspect", info.Size(), wm, "inspect", core, "--binary", program, "--binary", libc, "--format", "json")
	b.run("wasmortem inspect, no binary", info.Size(), wm, "inspect", core, "--format", "json")
	b.run("zstd -dc", info.Size(), "zstd", "-dc", packed)
	b.run("wasmortem inspect, .zst", info.Size(), wm, "inspect", packed, "--binary", program, "--binary", libc, "--format", "json")
	fmt.Printf("a core of %d MiB; median of %d runs\n%-32s %9s %9s %9s %9s\n", info.Size()>>20, runs, "", "wall ms", "cpu ms", "peak MiB", "of eu-stack")
	for _, s := range b.samples {
		fmt.Printf("%-32s %9.1f %9.1f %9d %9s\n", s.name, float64(s.wall.Microseconds())/1000, float64(s.cpu.Microseconds())/1000, s.peak>>20, ratio(s.wall, b.samples[0].wall))
	}
	return nil
}

// crash builds the program and lets it crash.
func (b *bench) crash(mib int64) (program, core, libc string, err error) {
	build := exec.Command("go", "build", "-o", b.path("wasmortem"), "github.com/wasmortem/wasmortem/cmd/wasmortem")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", "", "", fmt.Errorf("building wasmortem: %w", err)
	}
	program = b.path("large")
	gcc := exec.Command("gcc", "-x", "c", "-O1", "-pthread", "-Wl,--build-id", "-o", program, "-")
	gcc.Stdin = strings.NewReader(large)
	if out, err := gcc.CombinedOutput(); err != nil {
		return "", "", "", fmt.Errorf("building the program: %w: %s", err, out)
	}
	name, err := exec.Command("gcc", "-print-file-name=libc.so.6").Output()
	if err != nil {
		return "", "", "", fmt.Errorf("asking gcc for the C library: %w", err)
	}
	if libc, err = filepath.EvalSymlinks(strings.TrimSpace(string(name))); err != nil {
		return "", "", "", fmt.Errorf("looking for the C library: %w", err)
	}
	run := exec.Command("sh", "-c", fmt.Sprintf("ulimit -c unlimited; exec ./large %d", mib))
	run.Dir = b.dir
	_ = run.Run() // it crashes
	found, err := filepath.Glob(b.path("core*"))
	if err != nil || len(found) == 0 {
		return "", "", "", errors.New("no core dump was written: /proc/sys/kernel/core_pattern has to be \"core\", and ulimit -Hc unlimited")
	}
	return program, found[0], libc, nil
}
