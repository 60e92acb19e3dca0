"""What faces are made into that others lend features: expressions, data sets, people who do not exist."""
