// Command warehouse picks, packs and sends what the store sells.
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

	"store.example/warehouse/internal/app"
	"store.example/warehouse/internal/db"
	"store.example/warehouse/internal/outside"
	"store.example/warehouse/internal/routes"
	"store.example/warehouse/internal/web"
)

const stopMax = 5 * time.Second

func main() {
	level := slog.LevelInfo
	if os.Getenv("LOG_LEVEL") == "debug" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(web.LogHandler{Handler: slog.NewJSONHandler(os.Stdout,
		&slog.HandlerOptions{Level: level, ReplaceAttr: web.LogMembers})}))
	if err := run(); err != nil {
		slog.Error("the warehouse cannot run", "error", err.Error())
		os.Exit(1)
	}
}

func run() error {
	began := time.Now()
	path, err := databasePath(env("DATABASE_URL", "sqlite:///warehouse.db"))
	if err != nil {
		return err
	}
	delay, err := milliseconds("ROBOT_DELAY_MS", 700)
	if err != nil {
		return err
	}
	every, err := milliseconds("CARRIER_POLL_MS", 15_000)
	if err != nil {
		return err
	}
	secret := os.Getenv("CARRIER_WEBHOOK_SECRET")
	if secret == "" {
		slog.Warn("CARRIER_WEBHOOK_SECRET is not set: webhooks of the carrier are refused, only polling hears of deliveries")
	}
	data, err := db.Open(path)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "8080")))
	if err != nil {
		return errors.Join(fmt.Errorf("cannot listen: %w", err), data.Close())
	}

	stopping, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer restore()
	service := app.New(data, outside.New(url("ORDERS_URL"), url("CARRIER_SIM_URL")), app.Settings{
		Robot: os.Getenv("ROBOT_PICKER") == "on", RobotDelay: delay, PollEvery: every,
	})
	background := make(chan struct{})
	go func() {
		defer close(background)
		service.Run(stopping)
	}()
	server := &http.Server{
		Handler: routes.New(service, data, routes.Config{
			Token: os.Getenv("APP_API_TOKEN"), CarrierSecret: secret,
		}, stopping.Done()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      45 * time.Second, // a long poll lasts 30 s
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	slog.Info("the warehouse is open", "address", listener.Addr().String(), "version", routes.Version,
		"robot", os.Getenv("ROBOT_PICKER") == "on", "start", time.Since(began))

	select {
	case err := <-served:
		return err
	case <-stopping.Done():
	}
	slog.Info("stopping")
	patience, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		slog.Warn("some requests were cut off", "error", err.Error())
		_ = server.Close()
	}
	<-background
	return data.Close()
}

func databasePath(address string) (string, error) {
	const prefix = "sqlite:///"
	if path, ok := strings.CutPrefix(address, prefix); ok && path != "" {
		return path, nil
	}
	return "", fmt.Errorf("DATABASE_URL is %q; expected sqlite:////absolute/path.db", address)
}

func milliseconds(name string, otherwise int) (time.Duration, error) {
	text := env(name, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 86_400_000 {
		return 0, fmt.Errorf("%s is %q; expected milliseconds, 0 to 86400000", name, text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func url(name string) string { return strings.TrimRight(os.Getenv(name), "/") }
