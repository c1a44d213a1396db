//go:build unix

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metric returns a metric added up over the running servers of a role, and
// over its labels where the name has none.
func (c *Cluster) metric(ctx context.Context, role, name string) (sum float64, err error) {
	for server, addr := range c.Health() {
		p := c.servers[server].Process()
		if !strings.HasPrefix(server, role+"_") || p == nil || !running(p) {
			continue
		}
		sums, err := metricSums(ctx, addr)
		if err != nil {
			return 0, fmt.Errorf("metrics of %s: %w", server, err)
		}
		sum += sums[name]
	}
	return sum, nil
}

// metricSums reads the metrics at a health port, added up by name and by name
// with one label.
func metricSums(ctx context.Context, addr string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	sums := make(map[string]float64)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		value, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			return nil, err
		}
		name, labels, _ := strings.Cut(lines.Text()[:at], "{")
		sums[name] += value
		for label := range strings.SplitSeq(strings.TrimSuffix(labels, "}"), ",") {
			sums[name+"{"+label+"}"] += value
		}
	}
	return sums, lines.Err()
}
