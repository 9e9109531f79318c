package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// readDocuments reads the JSON or YAML documents of a file, or of in where the path is "-". Each is JSON then.
func readDocuments(in io.Reader, path string) ([][]byte, error) {
	text, err := readFile(in, path)
	if err != nil {
		return nil, err
	}
	split := splitYAML
	if bytes.HasPrefix(text, []byte("{")) {
		split = splitJSON
	}
	documents, err := split(text)
	if err != nil {
		return nil, fmt.Errorf("it is neither JSON nor YAML as a whole; it may have been cut off: %w", err)
	}
	if len(documents) == 0 {
		return nil, errors.New("it is empty")
	}
	return documents, nil
}

func readFile(in io.Reader, path string) ([]byte, error) {
	read := func() ([]byte, error) { return os.ReadFile(path) }
	if path == "-" {
		read = func() ([]byte, error) { return io.ReadAll(in) }
	}
	text, err := read()
	return bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff"))), err
}

func splitJSON(text []byte) ([][]byte, error) {
	var documents [][]byte
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var document json.RawMessage
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, err
		}
		documents = append(documents, document)
	}
}

func splitYAML(text []byte) ([][]byte, error) {
	var documents [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		if document, err = yaml.YAMLToJSONStrict(document); err != nil {
			return nil, err
		}
		if string(document) != "null" { // nothing but comments
			documents = append(documents, document)
		}
	}
}

// kindOf says what a JSON document is.
func kindOf(document []byte) (kind metav1.TypeMeta, err error) {
	if err = strictjson.UnmarshalCaseSensitivePreserveInts(document, &kind); err != nil {
		err = fmt.Errorf("it is no object with apiVersion and kind: %w", err)
	}
	return kind, err
}

// decode reads a JSON document into a value. What the value has no field for, and what is there twice, is an error.
func decode(document []byte, into any) error {
	strict, err := strictjson.UnmarshalStrict(document, into)
	return errors.Join(append(strict, err)...)
}

// checkSavePath says what is wrong with a file that is to be written, before any work is done for it.
func checkSavePath(path string) error {
	dir, err := os.Stat(filepath.Dir(path))
	switch {
	case err != nil:
		return err
	case !dir.IsDir():
		return fmt.Errorf("%s is no directory", filepath.Dir(path))
	case strings.HasSuffix(path, string(filepath.Separator)):
		return fmt.Errorf("%s names no file; write the name of the file to save the plan to", path)
	}
	switch there, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !there.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file; write the name of a file to save the plan to, or use -o json", path)
	}
	return nil
}

// writeWhole writes a file that is either there as a whole or as it was before, and that its owner alone can read.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	if err := checkSavePath(path); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // CreateTemp's files are 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err = errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
