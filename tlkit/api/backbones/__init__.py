"""``tlkit backbones``: list the catalogue, show one network, measure speed, fetch weights."""
