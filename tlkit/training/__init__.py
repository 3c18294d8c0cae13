"""Carries out a Plan: solves the head, assembles the network."""
