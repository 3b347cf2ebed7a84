package kongfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Sources reads the named files. A name can be that of a directory, whose files with
// the endings .yaml, .yml and .json are read, those of directories in it too, in the
// order of their names; and "-" is stdin.
func Sources(names []string, stdin io.Reader) ([]Source, error) {
	var all []Source
	for _, name := range names {
		if name == "-" {
			text, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("kongfile: stdin: %w", err)
			}
			all = append(all, Source{"stdin", text})
			continue
		}
		files, err := filesOf(name)
		if err != nil {
			return nil, fmt.Errorf("kongfile: %w", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("kongfile: %w", err)
			}
			all = append(all, Source{file, text})
		}
	}
	return all, nil
}

func filesOf(name string) (files []string, err error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no file with the ending .yaml, .yml or .json", name)
	}
	return files, err
}
