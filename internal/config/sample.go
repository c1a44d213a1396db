package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Sample writes a commented file that keys accept: every key with its meaning
// and default, set where the table has a sample value or requires one.
func Sample(w io.Writer, title string, keys Keys) error {
	out := bufio.NewWriter(w)
	for line := range wrapped(title, commentWidth) {
		fmt.Fprintf(out, "# %s\n", line)
	}
	for i := range keys {
		k := &keys[i]
		if k.Obsolete {
			continue
		}
		fmt.Fprintln(out)
		for line := range wrapped(k.Help, commentWidth) {
			fmt.Fprintf(out, "# %s\n", line)
		}
		fallback := k.fallback()
		if k.Default != "" {
			fallback = "default " + k.Default
		}
		fmt.Fprintf(out, "# %s; %s\n", k.shape(), fallback)
		keys.sampleLines(out, k)
	}
	return out.Flush()
}

func (ks Keys) sampleLines(out io.Writer, k *Key) {
	switch {
	case k.Kind == Servers:
		host, port, _ := strings.Cut(k.Sample, ":")
		unset := ""
		if k.Sample == "" {
			unset = "#"
		}
		fmt.Fprintf(out, "%s%sIP1=%s\n%s%sPort1=%s\n", unset, k.Name, host, unset, k.Name, port)
		return
	case k.Per != "":
		list := ks.find(k.Per)
		for _, instance := range split(or(list.Sample, list.Default), ",") {
			sampleLine(out, k, k.expand(instance))
		}
		return
	}
	sampleLine(out, k, k.Name)
}

func sampleLine(out io.Writer, k *Key, name string) {
	switch {
	case k.Sample != "":
		fmt.Fprintf(out, "%s=%s\n", name, k.Sample)
	case k.Kind == Secret:
		fmt.Fprintf(out, "#%s%s=\n", name, secretFileSuffix)
	default:
		fmt.Fprintf(out, "#%s=%s\n", name, k.Default)
	}
}

func (k *Key) fallback() string {
	switch {
	case k.Obsolete:
		return "obsolete"
	case k.Required, k.Kind == Servers && k.Min > 0:
		return "required"
	default:
		return "optional"
	}
}

// shape says in a few words what a value looks like.
func (k *Key) shape() string {
	if k.Enum != nil {
		separator := " or "
		if k.Kind == List {
			separator = ", "
		}
		return strings.Join(k.Enum, separator)
	}
	show := showInt
	switch k.Kind {
	case Duration:
		show = showDuration
	case Bytes:
		show = showSize
	case String, Secret:
		show = func(n int64) string { return showInt(n) + " bytes" }
	case Int:
	default:
		return k.Kind.String()
	}
	switch {
	case k.Min == 0 && k.Max == 0:
		return k.Kind.String()
	case k.Min == k.Max:
		return fmt.Sprintf("%s of %s", k.Kind, show(k.Min))
	case k.Max == 0:
		return fmt.Sprintf("%s from %s", k.Kind, show(k.Min))
	default:
		return fmt.Sprintf("%s from %s to %s", k.Kind, show(k.Min), show(k.Max))
	}
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

// commentWidth keeps sample files readable in a terminal.
const commentWidth = 92

// wrapped yields the words of text in lines of at most width bytes.
func wrapped(text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		line := ""
		for word := range strings.FieldsSeq(text) {
			if line != "" && len(line)+1+len(word) > width {
				if !yield(line) {
					return
				}
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		if line != "" {
			yield(line)
		}
	}
}
