"""The HTTP API: what is asked and answered. Triggers carry it; it knows no Azure."""
