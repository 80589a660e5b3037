// Command carrier-sim plays the carrier: a company outside the store that
// takes parcels, says where they are, and calls back when something happens.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	level := slog.LevelInfo
	if os.Getenv("LOG_LEVEL") == "debug" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level, ReplaceAttr: logMembers})))
	if err := run(); err != nil {
		slog.Error("the carrier cannot run", "error", err.Error())
		os.Exit(1)
	}
}

func logMembers(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey:
		return slog.String("time", stamp(a.Value.Time()))
	case a.Key == slog.LevelKey:
		return slog.String("level", strings.ToLower(a.Value.String()))
	}
	return a
}

func run() error {
	path, err := databasePath(env("DATABASE_URL", "sqlite:///carrier-sim.db"))
	if err != nil {
		return err
	}
	deliverMS, err := strconv.ParseInt(env("DELIVER_AFTER_MS", "4000"), 10, 64)
	if err != nil || deliverMS < 0 {
		return fmt.Errorf("DELIVER_AFTER_MS is %q; expected milliseconds of at least 0", os.Getenv("DELIVER_AFTER_MS"))
	}
	b, err := openBook(path)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "8080")))
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen: %w", err), b.db.Close())
	}
	stopping, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer restore()

	target := os.Getenv("WEBHOOK_URL")
	if warehouse := strings.TrimRight(os.Getenv("WAREHOUSE_URL"), "/"); target == "" && warehouse != "" {
		target = warehouse + "/v1/webhooks/carrier"
	}
	secret := os.Getenv("CARRIER_WEBHOOK_SECRET")
	if secret == "" {
		slog.Warn("CARRIER_WEBHOOK_SECRET is not set: receivers will refuse the webhooks")
	}
	p := newPostman(b, target, secret)
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		if target == "" {
			slog.Warn("neither WEBHOOK_URL nor WAREHOUSE_URL is set: no webhooks are sent")
			return
		}
		p.run(stopping)
	}()
	server := &http.Server{
		Handler:           (&counter{b, p, deliverMS, os.Getenv("APP_API_TOKEN")}).handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.Info("the carrier is open", "address", listener.Addr().String(), "version", version)

	select {
	case err := <-served:
		return err
	case <-stopping.Done():
	}
	slog.Info("stopping")
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		_ = server.Close()
	}
	<-posted
	return b.db.Close()
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
