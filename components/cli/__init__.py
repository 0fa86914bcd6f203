"""The command line `cocite`: one file per group of verbs. A verb parses, calls the package below, and prints."""
