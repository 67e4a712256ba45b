"""From weights to bundles that a control process can check, load and swap."""
