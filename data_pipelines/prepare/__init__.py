"""From clips to records: `faceswap prepare` and `faceswap verify`."""
