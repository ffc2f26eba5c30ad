"""Grid protection: pure, standard library and grid codes only. `grid.GridProtection` is what guard uses."""
