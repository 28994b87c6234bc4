"""The server under load and under SIGKILL, seen from outside: a process, our client, mTLS."""
