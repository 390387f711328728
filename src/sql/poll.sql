SET LOCK_TIMEOUT 5000;
SET NOCOUNT ON;
SELECT CAST(SERVERPROPERTY('ServerName') AS nvarchar(128)) AS server_name,
 CAST(@@SERVERNAME AS nvarchar(128)) AS local_name,
 CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS product_version,
 CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition,
 SUSER_SNAME() AS login_name, DB_NAME() AS database_name,
 IS_SRVROLEMEMBER('sysadmin') AS is_sysadmin,
 HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') AS can_view_server_state,
 HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW ANY DATABASE') AS can_view_any_database;
SELECT d.name, d.state,
 m.mirroring_guid, m.mirroring_state, m.mirroring_role, m.mirroring_role_sequence, m.mirroring_safety_level,
 m.mirroring_partner_name, m.mirroring_partner_instance, m.mirroring_witness_name, m.mirroring_witness_state
 FROM sys.databases AS d LEFT JOIN sys.database_mirroring AS m ON m.database_id = d.database_id
 ORDER BY d.name;
SELECT e.name, e.state, e.role, t.port
 FROM sys.database_mirroring_endpoints AS e LEFT JOIN sys.tcp_endpoints AS t ON t.endpoint_id = e.endpoint_id;
SELECT w.database_name, w.principal_server_name, w.mirror_server_name, w.role_sequence_number, w.mirroring_guid,
 w.partner_sync_state_desc
 FROM sys.database_mirroring_witnesses AS w;
IF HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') = 1
 SELECT RTRIM(c.counter_name) AS counter_name, RTRIM(c.instance_name) AS database_name, c.cntr_value
 FROM sys.dm_os_performance_counters AS c
 WHERE c.object_name LIKE N'%:Database Mirroring%'
 AND c.counter_name IN (N'Redo Queue KB', N'Log Send Queue KB', N'Redo Bytes/sec')
ELSE
 SELECT N'' AS counter_name, N'' AS database_name, CAST(0 AS bigint) AS cntr_value WHERE 1 = 0;