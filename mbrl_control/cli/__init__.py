"""The command line: thin verbs over the library; spawns processes, imports late."""
