"""Azure on one machine: real protocols over TLS, for trying Gallerist and for proving it. Never deployed."""
