package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A grpcApp answers in every way that gRPC knows, and says who asked.
type grpcApp struct {
	testpb.UnimplementedTestServiceServer
	ended chan error // how streams ended
}

func (a *grpcApp) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if s := in.GetResponseStatus(); s != nil {
		grpc.SetTrailer(ctx, metadata.Pairs("reason", "told to"))
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	grpc.SetHeader(ctx, metadata.Pairs("who", strings.Join(md.Get("x-postern-identity"), ",")))
	grpc.SetTrailer(ctx, metadata.Pairs("seal-bin", "\x00\x01\xff"))
	return &testpb.SimpleResponse{Payload: &testpb.Payload{Body: make([]byte, in.ResponseSize)}}, nil
}

func (a *grpcApp) FullDuplexCall(s grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		in, err := s.Recv()
		if err == io.EOF {
			s.SetTrailer(metadata.Pairs("count", "all of them"))
			return nil
		}
		if err != nil {
			a.ended <- err
			return err
		}
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

// grpc-go speaks to grpc-go through the door: calls, streams in both
// directions at once, status and trailers; and a revocation ends a stream.
func TestGRPC(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &grpcApp{ended: make(chan error, 4)}
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, app)
	go server.Serve(ln)
	defer server.Stop()

	d := configured(t, fmt.Sprintf("sites:\n  grpc.test: {proxy: \"h2c://%s\", allow: [services/orders]}\n", ln.Addr()))
	d.open()
	client := func(name string) testpb.TestServiceClient {
		cfg := d.tls(d.issue(name), "grpc.test")
		cfg.MinVersion = tls.VersionTLS13
		conn, err := grpc.NewClient("passthrough:///"+d.addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithAuthority("grpc.test"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return testpb.NewTestServiceClient(conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	orders := client("services/orders")

	var header, trailer metadata.MD
	forged := metadata.AppendToOutgoingContext(ctx, "x-postern-identity", "owner/device-1", "x_postern_identity", "owner/device-1")
	got, err := orders.UnaryCall(forged, &testpb.SimpleRequest{ResponseSize: 300_000}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || len(got.GetPayload().GetBody()) != 300_000 {
		t.Fatalf("a call: %v\n%s", err, d.output)
	}
	if who := header.Get("who"); len(who) != 1 || who[0] != "services/orders" {
		t.Errorf("the application was told that %q asks", who)
	}
	if seal := trailer.Get("seal-bin"); len(seal) != 1 || seal[0] != "\x00\x01\xff" {
		t.Errorf("the trailer arrived as %q", seal)
	}
	_, err = orders.UnaryCall(ctx, &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(codes.AlreadyExists), Message: "größer"}}, grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.AlreadyExists || s.Message() != "größer" || len(trailer.Get("reason")) != 1 {
		t.Errorf("an error arrived as %v, with %v", err, trailer)
	}

	stream, err := orders.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pingPong := func(size int) error {
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: make([]byte, size)}}); err != nil {
			return err
		}
		back, err := stream.Recv()
		if err == nil && len(back.GetPayload().GetBody()) != size {
			err = fmt.Errorf("%d bytes came back", len(back.GetPayload().GetBody()))
		}
		return err
	}
	for _, size := range []int{0, 1, 100_000, 10} { // each is answered before the next is sent
		if err := pingPong(size); err != nil {
			t.Fatalf("%d bytes through a stream: %v", size, err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF || len(stream.Trailer().Get("count")) != 1 {
		t.Errorf("the stream ended with %v, %v", err, stream.Trailer())
	}

	if _, err := client("services/other").UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another service's call: %v", err) // as HTTP's 403 translates
	}
	if stream, err = orders.FullDuplexCall(ctx); err != nil {
		t.Fatal(err)
	}
	if err := pingPong(10); err != nil {
		t.Fatal(err)
	}
	d.run("revoke", "services/orders")
	if _, err := stream.Recv(); err == nil || ctx.Err() != nil {
		t.Errorf("a stream outlives the revocation: %v", err)
	}
	select {
	case <-app.ended:
	case <-ctx.Done():
		t.Error("the application is not told that the stream has ended")
	}
}
