package oidc
