package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc; Linux fixes it at 100 Hz for
// user space.
const clockTick = 10 * time.Millisecond

// usage is what processes have used.
type usage struct {
	at  time.Time
	cpu map[string]time.Duration
	rss map[string]int64 // bytes, now
	own time.Duration    // CPU of this process
}

// readUsage reads /proc of every process. An unreadable one is an error.
func readUsage(pids []Process) (usage, error) {
	u := usage{at: time.Now(), cpu: make(map[string]time.Duration), rss: make(map[string]int64)}
	for _, p := range pids {
		cpu, err := readCPU(strconv.Itoa(p.PID))
		if err != nil {
			return usage{}, fmt.Errorf("measure %s: %w", p.Name, err)
		}
		rss, err := readRSS(p.PID)
		if err != nil {
			return usage{}, fmt.Errorf("measure %s: %w", p.Name, err)
		}
		u.cpu[p.Name] += cpu
		u.rss[p.Name] += rss
	}
	u.own, _ = readCPU("self") // only for the report; absent off Linux
	return u, nil
}

// since returns what was used between two readings; memory is the later one.
func (u usage) since(before usage) usage {
	d := usage{at: u.at, cpu: make(map[string]time.Duration), rss: u.rss, own: u.own - before.own}
	for name, cpu := range u.cpu {
		d.cpu[name] = cpu - before.cpu[name]
	}
	return d
}

// readCPU returns user and system time of a process.
func readCPU(pid string) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in parentheses may contain anything; fields count after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat: %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%s/stat: bad times", pid)
	}
	return time.Duration(user+system) * clockTick, nil
}

// readRSS returns the resident memory of a process in bytes.
func readRSS(pid int) (int64, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/statm"
	statm, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s: %d fields", path, len(fields))
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// Host says on what a run was made.
type Host struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Model string `json:"cpu_model"`
	CPUs  int    `json:"cpus"`
	RAM   int64  `json:"ram_bytes"`
	Go    string `json:"go"`
}

// thisHost describes this machine; what /proc does not tell stays empty.
func thisHost() Host {
	h := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.Model = procField(string(text), "model name")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _, _ := strings.Cut(procField(string(text), "MemTotal"), " ")
		if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
			h.RAM = n << 10
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.OS += " " + strings.TrimSpace(string(text))
	}
	return h
}

// procField returns the first value of a "name : value" file.
func procField(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
