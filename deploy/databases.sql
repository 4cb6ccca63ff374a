-- The ledger's database is made by the image (POSTGRES_DB); the servers have their own.
CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
