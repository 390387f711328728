SET LOCK_TIMEOUT 5000;
SET NOCOUNT ON;
SELECT CAST(SERVERPROPERTY('ServerName') AS nvarchar(128)) AS server_name,
 CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS product_version,
 CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition;
SELECT p.name, p.sid, p.type, p.is_disabled FROM sys.server_principals AS p
 WHERE p.type IN (N'S', N'U', N'G') ORDER BY p.name;
SELECT j.name, j.enabled FROM msdb.dbo.sysjobs AS j ORDER BY j.name;
SELECT s.name FROM sys.servers AS s WHERE s.is_linked = 1 ORDER BY s.name;
SELECT d.name, d.owner_sid, d.is_trustworthy_on, d.is_db_chaining_on, d.compatibility_level
 FROM sys.databases AS d ORDER BY d.name;