"""3D human pose for robots: camera images in, tracked metric 3D skeletons out."""
