"""``tlkit backbones``: the catalogue as a list, one network in detail, speed, and fetching weights."""
