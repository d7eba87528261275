"""What `make up`, `make demo` and the acceptance tests start on this machine."""
