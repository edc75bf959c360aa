"""Settings as data: recipes, suites of experiments, and the flags that set them."""
