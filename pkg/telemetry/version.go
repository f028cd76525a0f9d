package telemetry

import "runtime/debug"

// Version returns what the build set, or else what the compiler knows of the
// source: a module's version or a commit.
func Version(set string) string {
	if set != "" {
		return set
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknownVersion
	}
	return versionOf(info)
}

const unknownVersion = "unknown"

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	version, changed := unknownVersion, ""
	for _, s := range info.Settings {
		const short = 12
		switch {
		case s.Key == "vcs.revision":
			version = s.Value[:min(short, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	return version + changed
}
