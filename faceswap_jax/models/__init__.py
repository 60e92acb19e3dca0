"""Networks, each behind pure functions: init(config, key) -> params, apply(config, params, ...)."""
