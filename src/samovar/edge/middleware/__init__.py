"""The exchange in front of an ASGI application, in its own process, and the Cache-Control that such applications write."""
