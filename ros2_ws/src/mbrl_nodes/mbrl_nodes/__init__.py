"""ROS 2 nodes of mbrl_control: thin lifecycle nodes over the pure library."""
