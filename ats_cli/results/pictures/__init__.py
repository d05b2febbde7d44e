"""Pictures of a slide for people: the heatmap, the contact sheet."""
