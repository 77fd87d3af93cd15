package shop

import (
	"fmt"
	"reflect"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// codec carries messages as protocol buffers. A message is a struct; the tag
// pb of a field is its number. Its kinds are those that the demo's messages
// have: strings, int32 and int64, messages, and lists of strings and messages.
// It is given to the shop's own servers and calls: grpc's codec of that name is
// for generated code, and others of this process use it.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	return appendMessage(nil, reflect.Indirect(reflect.ValueOf(v)))
}

func (codec) Unmarshal(data []byte, v any) error {
	m := reflect.ValueOf(v)
	if m.Kind() != reflect.Pointer || m.IsNil() {
		return fmt.Errorf("%T is no pointer to a message", v)
	}
	return readMessage(data, m.Elem())
}

// number is a field's; 0 is none.
func number(f reflect.StructField) protowire.Number {
	n, err := strconv.Atoi(f.Tag.Get("pb"))
	if err != nil {
		return 0
	}
	return protowire.Number(n)
}

func appendMessage(b []byte, m reflect.Value) (_ []byte, err error) {
	if m.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is no message", m.Kind())
	}
	for i := range m.NumField() {
		n := number(m.Type().Field(i))
		if n == 0 || m.Field(i).IsZero() { // what has its zero value is left out
			continue
		}
		if f := m.Field(i); f.Kind() != reflect.Slice {
			b, err = appendField(b, n, f)
		} else {
			for j := 0; j < f.Len() && err == nil; j++ {
				b, err = appendField(b, n, f.Index(j))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%v.%s: %w", m.Type(), m.Type().Field(i).Name, err)
		}
	}
	return b, nil
}

func appendField(b []byte, n protowire.Number, v reflect.Value) ([]byte, error) {
	v = reflect.Indirect(v)
	switch v.Kind() {
	case reflect.String:
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v.String()), nil
	case reflect.Int, reflect.Int32, reflect.Int64:
		return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v.Int())), nil
	}
	inner, err := appendMessage(nil, v)
	if err != nil {
		return nil, err
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), inner), nil
}

// readMessage reads into a message; fields that it does not have are passed over.
func readMessage(data []byte, m reflect.Value) error {
	for len(data) > 0 {
		n, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		if size = protowire.ConsumeFieldValue(n, kind, data); size < 0 {
			return protowire.ParseError(size)
		}
		if i := fieldOf(m.Type(), n); i >= 0 {
			if err := readField(data[:size], kind, m.Field(i)); err != nil {
				return fmt.Errorf("%v.%s: %w", m.Type(), m.Type().Field(i).Name, err)
			}
		}
		data = data[size:]
	}
	return nil
}

func fieldOf(t reflect.Type, n protowire.Number) int {
	for i := range t.NumField() {
		if number(t.Field(i)) == n {
			return i
		}
	}
	return -1
}

func readField(value []byte, kind protowire.Type, f reflect.Value) error {
	switch f.Kind() {
	case reflect.Slice:
		one := reflect.New(f.Type().Elem()).Elem()
		if err := readField(value, kind, one); err != nil {
			return err
		}
		f.Set(reflect.Append(f, one))
		return nil
	case reflect.Pointer:
		if f.IsNil() {
			f.Set(reflect.New(f.Type().Elem()))
		}
		return readField(value, kind, f.Elem())
	case reflect.Int, reflect.Int32, reflect.Int64:
		if kind != protowire.VarintType {
			return fmt.Errorf("wire type %d is no number", kind)
		}
		v, _ := protowire.ConsumeVarint(value)
		if f.Kind() == reflect.Int32 {
			v = uint64(int32(v)) // as protocol buffers cut what is too large
		}
		f.SetInt(int64(v))
		return nil
	}
	if kind != protowire.BytesType {
		return fmt.Errorf("wire type %d is no text and no message", kind)
	}
	inner, _ := protowire.ConsumeBytes(value)
	if f.Kind() == reflect.String {
		f.SetString(string(inner))
		return nil
	}
	return readMessage(inner, f)
}
