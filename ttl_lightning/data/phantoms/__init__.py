"""Pictures and volumes that are drawn, to try everything on."""
