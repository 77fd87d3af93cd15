package shop

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	graph "github.com/atoll-dev/atoll/sim/shop"
)

// protoField is one of a message as the demo describes it.
func protoField(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, of string, repeated bool) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	if of != "" {
		f.TypeName = proto.String(".hipstershop." + of)
	}
	if repeated {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	return f
}

// described are three of the demo's messages, with those that they hold.
func described(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		small   = descriptorpb.FieldDescriptorProto_TYPE_INT32
		large   = descriptorpb.FieldDescriptorProto_TYPE_INT64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	one := func(name string, fields ...*descriptorpb.FieldDescriptorProto) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{Name: &name, Field: fields}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("demo.proto"), Package: proto.String("hipstershop"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			one("Money", protoField("currency_code", 1, text, "", false), protoField("units", 2, large, "", false), protoField("nanos", 3, small, "", false)),
			one("CartItem", protoField("product_id", 1, text, "", false), protoField("quantity", 2, small, "", false)),
			one("Cart", protoField("user_id", 1, text, "", false), protoField("items", 2, message, "CartItem", true)),
			one("Product", protoField("id", 1, text, "", false), protoField("name", 2, text, "", false), protoField("description", 3, text, "", false),
				protoField("picture", 4, text, "", false), protoField("price_usd", 5, message, "Money", false), protoField("categories", 6, text, "", true)),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCodec holds the codec against the protobuf library, both ways.
func TestCodec(t *testing.T) {
	file := described(t)
	for _, c := range []struct {
		name string
		ours any
	}{
		{"Money", &money{"USD", -1, -750_000_000}},
		{"Money", &money{}},
		{"Cart", &cart{User: "someone", Items: []graph.Item{{Product: "OLJCESPC7Z", Quantity: 2}, {}}}},
		{"Product", &product{"L9ECAV7KIM", "Loafers", money{"USD", 89, 990_000_000}, []string{"footwear", ""}}},
	} {
		theirs := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(c.name)))
		data, err := codec{}.Marshal(c.ours)
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(data, theirs); err != nil {
			t.Fatalf("%s: the library does not read it: %v", c.name, err)
		}
		if len(theirs.GetUnknown()) > 0 {
			t.Errorf("%s: fields that the demo does not have", c.name)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(c.ours).Elem()).Interface()
		if err := (codec{}).Unmarshal(again, back); err != nil {
			t.Fatalf("%s: the library's is not read: %v", c.name, err)
		}
		if !reflect.DeepEqual(back, c.ours) {
			t.Errorf("%s: %+v became %+v", c.name, c.ours, back)
		}
		if string(again) != string(data) {
			t.Errorf("%s: %x, by the library %x", c.name, data, again)
		}
	}
	// What is beyond the demo is nothing to it.
	data, err := codec{}.Marshal(&cart{User: "someone", Kept: &graph.Served{Part: "carts kept"}})
	if err != nil {
		t.Fatal(err)
	}
	theirs := dynamicpb.NewMessage(file.Messages().ByName("Cart"))
	if err := proto.Unmarshal(data, theirs); err != nil || theirs.Get(theirs.Descriptor().Fields().ByName("user_id")).String() != "someone" {
		t.Errorf("%v, %v", theirs, err)
	}
}

// FuzzCodec reads anything: hostile bytes are an error, never a panic.
func FuzzCodec(f *testing.F) {
	data, err := codec{}.Marshal(&placed{Order: order{ID: "1", Items: []orderItem{{graph.Item{Product: "a", Quantity: 1}, money{"EUR", 1, 2}}}}, Parts: []graph.Served{{Part: "payment"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x08, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		var p placed
		if err := (codec{}).Unmarshal(data, &p); err != nil {
			return
		}
		again, err := codec{}.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		var q placed
		if err := (codec{}).Unmarshal(again, &q); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%+v became %+v, %v", p, q, err)
		}
	})
}
