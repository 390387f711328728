SET LOCK_TIMEOUT 5000;
SET NOCOUNT ON;
SELECT CAST(SERVERPROPERTY('ServerName') AS nvarchar(128)) AS server_name,
 CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS product_version,
 CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition, SUSER_SNAME() AS own_login;
SELECT p.name, p.sid, CAST(p.type AS nchar(1)) AS type, p.is_disabled, p.default_database_name, l.is_policy_checked
 FROM sys.server_principals AS p LEFT JOIN sys.sql_logins AS l ON l.principal_id = p.principal_id
 WHERE p.type IN (N'S', N'U', N'G') ORDER BY p.name;
SELECT j.name, j.enabled FROM msdb.dbo.sysjobs AS j ORDER BY j.name;
SELECT s.name FROM sys.servers AS s WHERE s.is_linked = 1 ORDER BY s.name;
SELECT d.name, d.owner_sid, d.is_trustworthy_on, d.is_db_chaining_on, d.compatibility_level
 FROM sys.databases AS d ORDER BY d.name;
SELECT p.name, r.name AS server_role FROM sys.server_role_members AS m
 JOIN sys.server_principals AS p ON p.principal_id = m.member_principal_id
 JOIN sys.server_principals AS r ON r.principal_id = m.role_principal_id ORDER BY p.name, r.name;
SELECT n.NodeName AS name FROM sys.dm_os_cluster_nodes AS n ORDER BY n.NodeName;
