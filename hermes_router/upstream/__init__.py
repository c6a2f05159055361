"""The edge towards providers: HTTP, authentication, discovery of local servers."""
